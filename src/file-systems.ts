// Kinds of file systems, by statfs f_type. The tracer has the same lists (zig/file_systems.zig); a test compares them.

export const pipeFileSystem = 0x50495045;
export const terminalFileSystem = 0x1cd1;
export const overlayFileSystem = 0x794c7630;

/** What is in them goes with their last mount. */
export const memoryFileSystems: ReadonlySet<number> = new Set([
  0x01021994, // tmpfs
  0x858458f6, // ramfs
]);

/** No content on a disk: their files are questions to the kernel, and reading one can have effects, or never end. */
export const pseudoFileSystems: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  terminalFileSystem, // devpts
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0xf97cff8c, // selinuxfs
  0x43415d53, // smackfs
  0x5a3c69f0, // apparmorfs
  0xcafe4a11, // bpf
  0x6165676c, // pstore
  0xde5e81e4, // efivarfs
  0x62656570, // configfs
  0x42494e4d, // binfmt_misc
  0x19800202, // mqueue
  0x6e736673, // nsfs
  0x50494446, // pidfs
  0x534f434b, // sockfs
  pipeFileSystem,
  0x09041934, // anonymous inodes
  0x65735543, // fusectl
  0x7655821, // resctrl
  0x67596969, // rpc_pipefs
  0x187, // autofs: looking inside would mount
]);

/** Served by a process or another machine: a read can take for ever, and what it returns is the server's word. */
export const remoteFileSystems: ReadonlySet<number> = new Set([
  0x65735546, // fuse, virtiofs
  0x6969, // nfs
  0x517b, // smb
  0xff534d42, // cifs
  0xfe534d42, // smb2
  0x01021997, // 9p
  0x5346414f, // afs (openafs)
  0x6b414653, // afs (kernel)
  0x00c36400, // ceph
  0x0bd00bd0, // lustre
  0x73757245, // coda
  0x786f4256, // vboxsf
  0x20030528, // orangefs
  0x01161970, // gfs2
  0x7461636f, // ocfs2
  0x47504653, // gpfs
]);
