//! Kinds of file systems, by statfs f_type. The front end has the same lists (src/file-systems.ts); a test compares them.

pub const proc = 0x9fa0;
pub const overlay = 0x794c_7630;
pub const mqueue = 0x1980_0202;

comptime {
    @import("std").debug.assert(isPseudo(proc));
}

/// Nothing of a disk: their files are questions to the kernel.
pub fn isPseudo(file_system: u32) bool {
    return switch (file_system) {
        0x9fa0, // proc
        0x6265_6572, // sysfs
        0x1cd1, // devpts
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xf97c_ff8c, // selinuxfs
        0x4341_5d53, // smackfs
        0x5a3c_69f0, // apparmorfs
        0xcafe_4a11, // bpf
        0x6165_676c, // pstore
        0xde5e_81e4, // efivarfs
        0x6265_6570, // configfs
        0x4249_4e4d, // binfmt_misc
        0x1980_0202, // mqueue
        0x6e73_6673, // nsfs
        0x5049_4446, // pidfs
        0x534f_434b, // sockfs
        0x5049_5045, // pipes
        0x0904_1934, // anonymous inodes
        0x6573_5543, // fusectl
        0x0765_5821, // resctrl
        0x6759_6969, // rpc_pipefs
        0x0187, // autofs
        => true,
        else => false,
    };
}

/// A process of this machine may answer for it, of the build too. It has not said what it is, or it can be mounted so.
pub fn isServedByProcess(file_system: u32) bool {
    return switch (file_system) {
        0 => true,
        0x6573_5546, // fuse
        0x0102_1997, // 9p
        0x7375_7245, // coda
        0x0187, // autofs
        => true,
        else => false,
    };
}

/// It has not said what it is, or a server can change content behind the kernel's back.
pub fn isServed(file_system: u32) bool {
    return switch (file_system) {
        0 => true,
        0x6573_5546, // fuse, virtiofs
        0x6969, // nfs
        0x517b, // smb
        0xff53_4d42, // cifs
        0xfe53_4d42, // smb2
        0x0102_1997, // 9p
        0x5346_414f, // afs (openafs)
        0x6b41_4653, // afs (kernel)
        0x00c3_6400, // ceph
        0x0bd0_0bd0, // lustre
        0x7375_7245, // coda
        0x786f_4256, // vboxsf
        0x2003_0528, // orangefs
        0x0116_1970, // gfs2
        0x7461_636f, // ocfs2
        0x4750_4653, // gpfs
        => true,
        else => false,
    };
}
