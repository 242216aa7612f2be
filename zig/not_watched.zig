//! System calls that never stop a tracee, each with its reason. What is neither here nor a row of
//! syscalls.zig does not compile.
//!
//! The names are enums, since `@hasField` is a hash look-up in the compiler where comparing strings at
//! compile time takes ten seconds.
const std = @import("std");

const Group = struct { reason: []const u8, Names: type };

pub fn reasonFor(comptime name: []const u8) ?[]const u8 {
    inline for (groups) |group| {
        if (@hasField(group.Names, name)) return group.reason;
    }
    return null;
}

const groups = [_]Group{
    .{
        .reason = "moves data through a descriptor whose opening was recorded; outputs are known from how files were opened and digested as they were left",
        // zig fmt: off
        .Names = enum {
            read, write, readv, writev, pread64, pwrite64, preadv, pwritev, preadv2, pwritev2, tee, vmsplice,
            io_setup, io_destroy, io_getevents, io_submit, io_cancel, io_pgetevents, io_pgetevents_time64,
            readahead, fadvise64, fadvise64_64, cachestat, lseek, llseek, fsync, fdatasync, sync, syncfs,
            sync_file_range, msync,
        },
        // zig fmt: on
    },
    .{
        .reason = "receives from or asks about a socket whose connection was recorded",
        // zig fmt: off
        .Names = enum {
            recvfrom, shutdown, getsockname, getpeername, setsockopt, getsockopt,
        },
        // zig fmt: on
    },
    .{
        .reason = "closes or marks descriptors",
        // zig fmt: off
        .Names = enum {
            close, close_range, flock,
        },
        // zig fmt: on
    },
    .{
        .reason = "asks about files and changes nothing",
        // zig fmt: off
        .Names = enum {
            stat, fstat, lstat, newfstatat, fstatat64, stat64, fstat64, lstat64, statx, oldstat, oldfstat,
            oldlstat, access, faccessat, faccessat2, readlink, readlinkat, getdents, getdents64, readdir,
            getcwd, statfs, fstatfs, statfs64, fstatfs64, ustat, statmount, listmount, getxattr, lgetxattr,
            fgetxattr, getxattrat, listxattr, llistxattr, flistxattr, listxattrat, file_getattr,
            name_to_handle_at, lookup_dcookie, sysfs, quotactl, quotactl_fd, listns, inotify_init,
            inotify_init1, inotify_add_watch, inotify_rm_watch,
        },
        // zig fmt: on
    },
    .{
        .reason = "marks what a group made by fanotify_init is told of; who only listens is given files that a recorded process has opened",
        // zig fmt: off
        .Names = enum {
            fanotify_mark,
        },
        // zig fmt: on
    },
    .{
        .reason = "state of the process that is read where it matters",
        // zig fmt: off
        .Names = enum {
            chdir, fchdir, umask, brk, getpid, getppid, gettid, getpgrp, getpgid, setpgid, getsid, getuid,
            geteuid, getgid, getegid, getuid32, geteuid32, getgid32, getegid32, getgroups, getgroups32,
            getresuid, getresgid, getresuid32, getresgid32, setuid, setgid, setreuid, setregid, setresuid,
            setresgid, setfsuid, setfsgid, setgroups, setuid32, setgid32, setreuid32, setregid32, setresuid32,
            setresgid32, setfsuid32, setfsgid32, setgroups32, capget, capset, personality, arch_prctl,
            set_thread_area, get_thread_area, modify_ldt, set_tid_address, getpriority, setpriority, nice,
            ioprio_get, ioprio_set, getrlimit, setrlimit, ugetrlimit, ulimit, getrusage, times,
            landlock_create_ruleset, landlock_add_rule, landlock_restrict_self, lsm_get_self_attr,
            lsm_set_self_attr, lsm_list_modules,
        },
        // zig fmt: on
    },
    .{
        .reason = "reported by the kernel as an event of the process",
        // zig fmt: off
        .Names = enum {
            fork, vfork, exit, exit_group, wait4, waitid, waitpid,
        },
        // zig fmt: on
    },
    .{
        .reason = "memory without a file, or that keeps the protection and file it has",
        // zig fmt: off
        .Names = enum {
            munmap, mremap, madvise, process_madvise, process_mrelease, mincore, mlock, mlock2, munlock,
            mlockall, munlockall, mseal, remap_file_pages, map_shadow_stack, pkey_alloc, pkey_free, mbind,
            set_mempolicy, get_mempolicy, migrate_pages, move_pages, set_mempolicy_home_node, shmctl,
            shmdt,
        },
        // zig fmt: on
    },
    .{
        .reason = "synchronises threads or processes",
        // zig fmt: off
        .Names = enum {
            futex, futex_time64, futex_waitv, futex_wake, futex_wait, futex_requeue, set_robust_list,
            get_robust_list, membarrier, rseq, rseq_slice_yield, semget, semop, semctl, semtimedop,
            semtimedop_time64, msgctl, mq_unlink, mq_timedsend,
            mq_timedreceive, mq_notify, mq_getsetattr, mq_timedsend_time64, mq_timedreceive_time64, pipe, pipe2,
            eventfd, eventfd2, signalfd, signalfd4, timerfd_create, timerfd_settime, timerfd_gettime,
            timerfd_settime64, timerfd_gettime64,
        },
        // zig fmt: on
    },
    .{
        .reason = "waits for descriptors or time",
        // zig fmt: off
        .Names = enum {
            poll, ppoll, ppoll_time64, select, newselect, pselect6, pselect6_time64, pause, epoll_create,
            epoll_create1, epoll_ctl, epoll_wait, epoll_pwait, epoll_pwait2, epoll_ctl_old, epoll_wait_old,
            nanosleep, clock_nanosleep, clock_nanosleep_time64, alarm, getitimer, setitimer, timer_create,
            timer_settime, timer_gettime, timer_getoverrun, timer_delete, timer_settime64, timer_gettime64,
        },
        // zig fmt: on
    },
    .{
        .reason = "signals, whose effect is seen where they arrive",
        // zig fmt: off
        .Names = enum {
            pidfd_open,
            rt_sigaction, rt_sigprocmask, rt_sigreturn, rt_sigpending, rt_sigtimedwait, rt_sigtimedwait_time64,
            rt_sigsuspend, sigaltstack, signal, sigaction, sigsuspend, sigpending, sigreturn, sigprocmask,
            sgetmask, ssetmask, restart_syscall,
        },
        // zig fmt: on
    },
    .{
        .reason = "scheduling",
        // zig fmt: off
        .Names = enum {
            sched_yield, sched_setparam, sched_getparam, sched_setscheduler, sched_getscheduler,
            sched_get_priority_max, sched_get_priority_min, sched_rr_get_interval, sched_rr_get_interval_time64,
            sched_setaffinity, sched_getaffinity, sched_setattr, sched_getattr, getcpu,
        },
        // zig fmt: on
    },
    .{
        .reason = "time and identity of the system",
        // zig fmt: off
        .Names = enum {
            time, gettimeofday, settimeofday, clock_gettime, clock_settime, clock_getres, clock_adjtime,
            adjtimex, stime, ftime, clock_gettime64, clock_settime64, clock_getres_time64, clock_adjtime64,
            uname, olduname, oldolduname, sysinfo, syslog, sethostname, setdomainname, getrandom,
        },
        // zig fmt: on
    },
    .{
        .reason = "needs a ring that io_uring_setup made, which is refused or noted",
        // zig fmt: off
        .Names = enum {
            io_uring_enter, io_uring_register,
        },
        // zig fmt: on
    },
    .{
        .reason = "administration of the machine that touches no file's content",
        // zig fmt: off
        .Names = enum {
            reboot, swapoff, vhangup, delete_module, kcmp, nfsservctl, bdflush, vm86, vm86old,
            uprobe, uretprobe,
        },
        // zig fmt: on
    },
    .{
        .reason = "not implemented by any kernel that we run on",
        // zig fmt: off
        .Names = enum {
            sysctl, create_module, get_kernel_syms, query_module, getpmsg, putpmsg, afs_syscall, tuxcall,
            security, vserver, @"break", stty, gtty, prof, lock, mpx, profil, idle,
        },
        // zig fmt: on
    },
};

test "a call has one reason" {
    @setEvalBranchQuota(10_000);
    inline for (groups, 0..) |group, i| {
        inline for (@typeInfo(group.Names).@"enum".field_names) |name| {
            inline for (groups[0..i]) |other| {
                if (@hasField(other.Names, name)) @compileError(name);
            }
        }
    }
}
