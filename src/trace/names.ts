// Names of the kernel's numbers: errors and signals. Fixed by the kernel's interface, the same on x86-64, i386 and arm64.

/** Position = number. Empty: the kernel has no error of that number. */
const errnoNames = `
  . EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
  ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK
  ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP . ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT
  EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT . EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV
  ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX
  ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT
  ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
  ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH
  EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY
  EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON`
  .trim()
  .split(/\s+/);

/** Codes that the kernel uses inside and that a tracer can see at a syscall's exit. */
const restartNames: Record<number, string> = {
  512: "ERESTARTSYS",
  513: "ERESTARTNOINTR",
  514: "ERESTARTNOHAND",
  516: "ERESTART_RESTARTBLOCK",
};

/** `number` is positive. */
export function errnoName(number: number): string {
  const name = errnoNames[number];
  if (name !== undefined && name !== ".") return name;
  return restartNames[number] ?? `E${number}`;
}

/** What the record says of a result: 0, or the error's name. The value of a success (a descriptor, a length) is of no interest there. */
export function resultName(result: bigint): 0 | string {
  return result < 0n && result >= -4095n ? errnoName(Number(-result)) : 0;
}

const signalNames = `
  . SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV SIGUSR2 SIGPIPE SIGALRM SIGTERM
  SIGSTKFLT SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGURG SIGXCPU SIGXFSZ SIGVTALRM SIGPROF SIGWINCH SIGIO
  SIGPWR SIGSYS`
  .trim()
  .split(/\s+/);
const firstRealtimeSignal = 32;

export function signalName(number: number): string {
  if (number >= firstRealtimeSignal) return `SIGRT${number}`;
  return signalNames[number] ?? `SIG${number}`;
}

export interface ExitStatus {
  /** 128 + n after signal n. */
  code: number;
  signal?: string;
  /** The kernel has written its memory into a file, or handed it to a handler (core(5)). */
  isCoreDumped?: true;
}

/** A wait status, as wait4(2) reports the end of a process. */
export function exitStatus(status: number): ExitStatus {
  const signal = status & 0x7f;
  if (signal === 0) return { code: (status >> 8) & 0xff };
  const coreDumped = 0x80;
  return { code: 128 + signal, signal: signalName(signal), ...(status & coreDumped ? { isCoreDumped: true as const } : {}) };
}
