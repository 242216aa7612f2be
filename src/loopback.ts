// Which addresses stay on this machine, and which failures mean that nothing was sent.

/** An address of IPv4 or IPv6 as text. Connecting to the unspecified address is connecting to oneself. */
export function isLoopbackAddress(family: string, address: string): boolean {
  if (family !== "AF_INET" && family !== "AF_INET6") return false;
  return address.startsWith("127.") || address === "::1" || address === "0.0.0.0" || address === "::";
}

/** Results of connect(2) and sendto(2): refused before anything was sent. */
export const refusedHere: ReadonlySet<string> = new Set(
  "ENETUNREACH ENETDOWN EAFNOSUPPORT EACCES EPERM EINVAL EADDRNOTAVAIL EADDRINUSE EBADF ENOTSOCK EFAULT EISCONN EALREADY".split(
    " ",
  ),
);
