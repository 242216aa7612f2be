// What tracers have fallen over, in 82 points, and where each is shown: the tests by file and title, or why it cannot happen to us. The
// numbers are those of a survey of tracers (80, of which 45 has three parts); test/pitfalls.test.ts sees to it that the tests exist.

/** A file of test/ without `.test.ts` or of zig/ with `.zig`, and a title in it, or the name of a row. */
export type Shown = readonly [file: string, title: string];

export interface Pitfall {
  what: string;
  shown?: readonly Shown[];
  /** Why there is nothing to be shown, or what is not. */
  because?: string;
}

const processes = "trace-processes";
const corners = "trace-corners";
const evasions = "trace-evasions";
const storms = "slow-trace-storms";
const watchdog = "watchdog";
const struck: Shown = [watchdog, "somebody outside strikes a process where it stands"];

export const pitfalls: { readonly [number: string]: Pitfall } = {
  // Creation of processes
  1: {
    what: "a child stops before its parent's event is reported",
    shown: [[storms, "200 parents that die as soon as they have forked"], [processes, "children"], struck],
  },
  2: {
    what: "which event is reported depends on flags, not on the call",
    shown: [
      [processes, "children"],
      ["ptrace.zig", "threads are told from processes"],
    ],
  },
  3: {
    what: "flags of clone3 are in memory",
    shown: [
      [processes, "children"],
      [evasions, "a child that asks not to be traced (clone, clone3, flags flipped by a thread)"],
    ],
  },
  4: { what: "CLONE_PARENT", shown: [[corners, "a child that is made a sibling (CLONE_PARENT)"]] },
  5: {
    what: "CLONE_UNTRACED",
    shown: [[evasions, "a child that asks not to be traced (clone, clone3, flags flipped by a thread)"]],
  },
  6: { what: "a vfork's parent waits for its child", shown: [[processes, "children"], struck] },
  7: {
    what: "numbers of processes are used again",
    shown: [
      [corners, "a number that is used again"],
      ["tracee.zig", "parked threads are counted, deaths of the unknown remembered"],
    ],
  },
  8: {
    what: "the first process must not run before it is traced",
    shown: [
      ["run-status", "a command that is killed before it is executed"],
      [processes, "identity of the image: program, arguments, digests"],
    ],
  },
  // exec
  9: {
    what: "exec by a thread that is not the leader",
    shown: [
      [processes, "thread-exec"],
      ["tracee.zig", "exec by a thread that is not the leader"],
      [watchdog, "what the tracer was told of a leader is out of date: an exec by another thread has its number now"],
    ],
  },
  10: { what: "an exec waits until all other threads have been reaped", shown: [[processes, "thread-exec"], struck] },
  11: {
    what: "at the entry of an exec /proc still describes the old image",
    shown: [
      ["trace-operations", "a fork runs its parent's image until it calls exec; a failed exec is no event"],
      [processes, "exec-kinds"],
    ],
  },
  12: { what: "failed execs of a search in PATH", shown: [[processes, "failed execs of a search in PATH are no programs"]] },
  13: {
    what: "scripts and binfmt_misc run another program",
    shown: [["evasion-programs", "the loader of a dynamic program and each script of a chain are opened by the kernel"]],
    because: "binfmt_misc is not tried, since its table is the whole machine's: the interpreter is found as that of a script is",
  },
  14: {
    what: "programs without a name: fexecve, memfd",
    shown: [
      [processes, "exec-kinds"],
      ["evasion-programs", "a script that is executed by its descriptor"],
    ],
  },
  15: {
    what: "ld.so PROGRAM runs it without an exec",
    shown: [[corners, "a program that its loader is told to run: no exec of it, but it is opened"]],
  },
  16: {
    what: "set-uid programs and file capabilities under ptrace",
    shown: [[corners, "as an ordinary user: it is not, and the record says so"]],
  },
  17: {
    what: "without PTRACE_O_TRACEEXEC an exec raises SIGTRAP",
    shown: [[processes, "exec-kinds"]],
    because: "the programs end with 0, which a SIGTRAP would prevent",
  },
  // Stops, signals, job control
  18: {
    what: "a group stop is not the delivery of its signal",
    shown: [
      [processes, "stop"],
      ["run-terminal", "Ctrl-Z stops it, fg goes on"],
      ["stop.zig", "every row of ptrace(2)'s table"],
    ],
  },
  19: {
    what: "signals must be passed on, real-time ones and SIGTRAP too",
    shown: [[processes, "signals arrive as in a bare run"]],
  },
  20: {
    what: "calls return EINTR because of the tracer",
    shown: [["network-clients", "Python: calls that a tracer's interruption would end with EINTR sleep on"]],
  },
  21: {
    what: "PTRACE_INTERRUPT answers late",
    shown: [struck, ["network-clients", "Python: calls that a tracer's interruption would end with EINTR sleep on"]],
  },
  22: {
    what: "SIGKILL in the middle of a stop: any request may answer ESRCH",
    shown: [struck, [storms, "SIGKILL in whatever they do, seed"]],
  },
  23: {
    what: "a death by signal is an end",
    shown: [
      ["run-status", "death by signal"],
      [processes, "signals arrive as in a bare run"],
    ],
  },
  24: {
    what: "counting entries and exits goes wrong",
    shown: [
      [evasions, "the build's own filter answers an errno"],
      [processes, "signals arrive as in a bare run"],
    ],
    because: "PTRACE_GET_SYSCALL_INFO is asked each time",
  },
  25: { what: "restart_syscall", shown: [[processes, "signals arrive as in a bare run"]] },
  26: {
    what: "PTRACE_EVENT_EXIT",
    because: "it is not asked for: what is needed of a process is taken while it lives, its status from wait4",
  },
  27: {
    what: "a leader that ends before its threads",
    shown: [
      [corners, "a process whose first thread has ended"],
      ["tracee.zig", "a process ends with its last thread, with its leader's status"],
    ],
  },
  28: {
    what: "the end of the command is not the end of the build",
    shown: [
      [processes, "is killed after the grace period and listed"],
      [processes, "is waited for when it ends by itself"],
      [processes, "without --trace it is killed after the grace period as well"],
    ],
  },
  29: { what: "a dying tracer leaves tracees behind", shown: [["run-signals", "kill -9 of the"]] },
  30: {
    what: "whoever else waits takes the tracer's children",
    shown: [[processes, "hundreds of processes at once, deep and wide"]],
    because: "the tracer is a process of its own, in which one thread waits",
  },
  31: {
    what: "the first that is ready starves the others",
    shown: [[corners, "many that stop all the time, and one that they wait for"]],
  },
  // Tracees that trace
  32: { what: "debuggers in the build", shown: [[corners, "a debugger, and a program that will not be debugged"]] },
  33: {
    what: "LeakSanitizer does not work under ptrace",
    shown: [[corners, "a debugger, and a program that will not be debugged"]],
    because: "its PTRACE_ATTACH is refused like any other, and the note says so; ASAN_OPTIONS=detect_leaks=0 is the remedy",
  },
  34: { what: "programs that will not be debugged", shown: [[corners, "a debugger, and a program that will not be debugged"]] },
  // seccomp
  35: {
    what: "other filters have precedence",
    shown: [
      [evasions, "the build's own filter answers an errno"],
      [evasions, "the build's own filter raises SIGSYS"],
      [evasions, "the build answers its own calls with `continue`"],
    ],
  },
  36: {
    what: "a filter of the build's own that asks for a tracer",
    shown: [[evasions, "the build's own filter asks for a tracer"]],
  },
  37: {
    what: "a filter can be noticed",
    shown: [[evasions, "what a filter of the build's own answers is what it answers without us"]],
    because: "Seccomp in /proc/self/status is on the page of what a command can notice (docs/differences.md)",
  },
  38: {
    what: "rewriting the build's filters",
    because: "they are left as they are; every call stops before any filter is asked",
  },
  39: { what: "PTRACE_O_SUSPEND_SECCOMP", because: "it is not used: it would take the build's own filters away" },
  40: {
    what: "calls that are put into a process its own filter kills",
    because: "none are put into any process: calls are refused or answered, never made",
  },
  41: {
    what: "the filter stays, whatever becomes of the tracer",
    shown: [
      [processes, "is killed after the grace period and listed"],
      ["run-signals", "kill -9 of the"],
    ],
  },
  42: {
    what: "a tracer in a tracer",
    shown: [
      [corners, "cilock in cilock: the inner one says why it cannot trace"],
      ["tracing-impossible", "under strace -f"],
    ],
  },
  // Privileges
  43: {
    what: "sudo works only below a root tracer without no_new_privs",
    shown: [
      [corners, "run by an ordinary user below a root tracer: it is root, and it is traced"],
      [corners, "as an ordinary user: it is not, and the record says so"],
    ],
  },
  44: { what: "newuidmap, ping and the like", shown: [[corners, "as an ordinary user: it is not, and the record says so"]] },
  45: {
    what: "who has changed his user is not dumpable",
    shown: [[evasions, "a process that is not dumpable"]],
    because: "without privilege nobody changes his user, and with it we are privileged too",
  },
  "45a": {
    what: "PR_SET_DUMPABLE 0, and programs that may not be read",
    shown: [
      [evasions, "a process that is not dumpable"],
      ["evasion-memory", "as an ordinary user: flagged, with what cannot be known"],
      ["evasion-memory", "as root: nothing is hidden"],
    ],
  },
  "45b": { what: "the tracer is attacked", shown: [[evasions, "the tracer and the front end are attacked"]] },
  46: {
    what: "places that forbid ptrace",
    shown: [
      ["tracing-impossible", "Yama 2 stops an ordinary user only"],
      ["obstacles", "the obstacle that is named"],
    ],
  },
  // ABIs
  47: { what: "int 0x80", shown: [[evasions, "calls of the 32-bit table"]] },
  48: { what: "x32", shown: [[evasions, "calls of the x32 table"]] },
  49: { what: "vsyscall", because: "time, getcpu and nothing else: no call that is watched" },
  50: {
    what: "foreign programs under an emulator",
    because: "the emulator is a program like any other: its opens and calls are those of the foreign one",
  },
  51: { what: "syscall user dispatch", shown: [[corners, "a call that comes by way of SIGSYS (syscall user dispatch)"]] },
  52: {
    what: "aarch64 has other numbers",
    shown: [["syscalls.zig", "every row exists somewhere, and no row twice in one table"]],
    because: "numbers and registers are behind tables; there is no product for it yet",
  },
  // Past all calls
  53: {
    what: "io_uring",
    shown: [
      [evasions, "io_uring is refused"],
      [evasions, "io_uring is allowed"],
    ],
  },
  54: {
    what: "arguments change between our look and the kernel's",
    shown: [
      [evasions, "a path that changes while it is opened"],
      ["evasion-memory", "a page that comes late or never"],
    ],
  },
  55: {
    what: "files that come without an open",
    shown: [
      [
        "evasion-outside",
        "a descriptor that comes over a socket (SCM_RIGHTS): the connection is recorded, and that the work is somebody else's",
      ],
      [
        "evasion-outside",
        "a descriptor that is taken from another process (pidfd_getfd): an event that names the file, and a gap that names the process",
      ],
      ["trace-files", "stdin from a regular file counts as opened at the start"],
    ],
  },
  56: {
    what: "writes without write(2)",
    shown: [
      ["trace-detail", "every call that writes, with the bytes that it wrote"],
      ["trace-files", "writers"],
    ],
  },
  57: {
    what: "the memory of others; files that a process serves",
    shown: [
      ["trace-operations", "the memory of another process, not one's own"],
      ["network-outside", "reaching into a process outside"],
      ["slow-served", "its files are read, run and digested like others"],
    ],
  },
  58: {
    what: "looking for what is not there",
    shown: [["trace-readers", "failed opens are counted and nothing else"]],
    because: "they are counted for each process, not listed",
  },
  59: { what: "directories are inputs", shown: [["trace-files", "opens"]] },
  60: {
    what: "inputs that are no files",
    shown: [[processes, "arguments and variables that are not UTF-8 are not lost"]],
    because: "time and randomness are read without a call; docs/evasions.md says so",
  },
  // Names and namespaces
  61: {
    what: 'names that end in " (deleted)"',
    shown: [
      [corners, "names that are no text, or say something else than what they are"],
      ["trace-writers", "an O_TMPFILE gets the name that it is linked to"],
    ],
  },
  62: {
    what: "a rename after the open",
    shown: [
      ["trace-writers", "a rename that nobody saw is put right at the next open"],
      ["trace-files", "writers"],
    ],
  },
  63: { what: "O_TMPFILE and linkat", shown: [["trace-writers", "an O_TMPFILE gets the name that it is linked to"]] },
  64: {
    what: "another root, another mount namespace",
    shown: [
      ["run-artifacts", "what was written under another name in a mount namespace"],
      ["trace-readers", "paths are those of the process's own root"],
      ["trace-inputs", "paths are ours, whatever the root of the process is"],
    ],
  },
  65: {
    what: "pid namespaces",
    shown: [[corners, "processes that have other numbers for themselves (a pid namespace), and die together"]],
  },
  66: {
    what: "a working directory that changes meanwhile",
    shown: [
      [corners, "a directory that another thread changes"],
      ["paths.zig", "paths of a process"],
    ],
  },
  67: {
    what: "odd bytes in names",
    shown: [
      [corners, "names that are no text, or say something else than what they are"],
      ["show", "nothing in a record acts on the terminal, and no line is endless"],
      ["text", "every pair of bytes comes back"],
    ],
  },
  68: {
    what: "paths over PATH_MAX",
    shown: [
      [corners, "a path that is longer than the kernel can say"],
      ["paths.zig", "a path that is too long is cut, and says so"],
    ],
  },
  69: {
    what: "one file under many names, overlays",
    shown: [
      [corners, "a file that a write moves to another layer: each content under its one name"],
      ["trace-writers", "one process, one file, two names: one writer"],
      ["trace-inputs", "a file that two processes have written, and all names of a linked one"],
    ],
  },
  // Descriptors and digests
  70: {
    what: "when to digest",
    shown: [
      ["trace-readers", "each path gets the content that it had at its open, once"],
      ["trace-writers", "the content at the writer's end, and how much the file has grown"],
    ],
  },
  71: {
    what: "a digest used again for another content",
    shown: [
      ["trace-readers", "a swap A, B, A shows as three versions (the attack on SUNSPOT's victims)"],
      ["trace-files", "the swap's later contents are all there, in the order in which they came"],
    ],
  },
  72: {
    what: "files that are open for writing only",
    shown: [["trace-files", "a file that is written and that nobody but root may read back"]],
  },
  73: {
    what: "FIFOs, devices, proc",
    shown: [["evasion-limits", "endless devices, pipes, a terabyte of holes, /proc, a log that grows"]],
  },
  74: {
    what: "our opens are noticed: leases, locks, ETXTBSY, times of access",
    shown: [
      [corners, "a program that is executed as soon as it is written"],
      [corners, "a lock that is given back with its descriptor"],
    ],
    because: "what can be noticed nevertheless (leases, inotify, umount) is listed in docs/differences.md",
  },
  75: {
    what: "our descriptors run out",
    shown: [
      ["slow-evasion-floods", "30,000 files, each written and read"],
      ["trace-writers", "the bound: 300 open outputs with 8 descriptors, early digests looked at again"],
    ],
  },
  76: {
    what: "space of deleted files that we have open",
    shown: [["trace-writers", "all descriptors are given back while the writer still runs, but for the bounded ones"]],
  },
  // Network
  77: {
    what: "at its entry nobody knows what becomes of a connect",
    shown: [
      ["network-clients", "what became of a connect"],
      ["trace-network", "what became of it"],
    ],
  },
  78: {
    what: "sends without a connect, and other families",
    shown: [
      ["network-families", "of other families, and TCP fast open, as"],
      ["trace-network", "questions to an unconnected server, and the answer names a later connection"],
      ["trace-network", "connected, two questions in one sendmmsg"],
    ],
  },
  79: {
    what: "the first bytes that name the host come in any call and in pieces",
    shown: [
      ["network-clients", "whom a connection is for"],
      ["protocols-quic", "hello in pieces"],
      ["trace-network", "only what was sent counts: the rest of a short write comes again"],
    ],
  },
  80: {
    what: "bind, listen and accept",
    shown: [
      ["trace-verdicts", "socket, bind, listen, accept, sendto"],
      ["network-outside", "a client at a unix socket of the build"],
    ],
  },
};
