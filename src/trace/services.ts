// What the processes that take work from others are called, by the name of their socket, their port, or their program. The first row
// that fits counts; where none does, the program's own name has to do.

interface Service {
  name: string;
  /** Of a unix socket, as in the record. */
  socket?: RegExp;
  port?: number;
  /** Last part of the program's path. */
  program?: RegExp;
  /** The words of its command line, joined by spaces: for what runs in a JVM. */
  commandLine?: RegExp;
}

const services: readonly Service[] = [
  { name: "buildkit", socket: /buildkitd?[^/]*\.sock$|\/buildkit\//, program: /^buildkitd$/ },
  { name: "docker", socket: /(^|\/)docker[^/]*\.sock$/, program: /^dockerd$/ },
  { name: "containerd", socket: /\/containerd[^/]*\.sock(\.ttrpc)?$/, program: /^containerd/ },
  { name: "podman", socket: /\/podman[^/]*\.sock$/, program: /^podman$/ },
  { name: "name service cache", socket: /\/nscd\/socket$|\/\.nscd_socket$|\/sss\/pipes\//, program: /^(nscd|nsncd|sssd.*)$/ },
  { name: "systemd-resolved", socket: /\/systemd\/resolve\//, program: /^systemd-resolve/ },
  { name: "system log", socket: /^\/dev\/log$|\/systemd\/journal\//, program: /^(systemd-journal.*|rsyslogd|syslog-ng)$/ },
  { name: "D-Bus", socket: /\/dbus\/|\/run\/user\/\d+\/bus$|^@?\/tmp\/dbus-/, program: /^dbus-(daemon|broker.*)$/ },
  { name: "systemd", socket: /\/systemd\//, program: /^systemd/ },
  { name: "X11", socket: /\.X11-unix\/X\d+$/, program: /^X(org|wayland|vfb|nest)?$/ },
  { name: "Wayland", socket: /\/wayland-\d+$/ },
  { name: "gpg-agent", socket: /\/S\.gpg-agent[^/]*$/, program: /^gpg-agent$/ },
  { name: "dirmngr", socket: /\/S\.dirmngr$/, program: /^dirmngr$/ },
  { name: "keyboxd", socket: /\/S\.keyboxd$/, program: /^keyboxd$/ },
  { name: "ssh-agent", socket: /\/ssh-[^/]*\/agent\.\d+$|\/agent\.\d+$|ssh-agent[^/]*$/, program: /^ssh-agent$/ },
  { name: "keyring", socket: /\/keyring\/[^/]*$/, program: /^gnome-keyring-d/ },
  { name: "gradle", commandLine: /GradleDaemon|org\.gradle\.launcher\.daemon/ },
  { name: "kotlin", commandLine: /KotlinCompileDaemon/ },
  { name: "bazel", program: /^bazel/, commandLine: /A-server\.jar|--output_base=.*bazel/ },
  { name: "sccache", program: /^sccache$/, port: 4226 },
  { name: "maven", commandLine: /mvnd|org\.mvndaemon/ },
  { name: "watchman", socket: /\/watchman[^/]*\/|\/\.watchman/, program: /^watchman$/ },
  { name: "snapd", socket: /\/snapd[^/]*\.socket$/ },
  { name: "PostgreSQL", socket: /\.s\.PGSQL\.\d+$/, port: 5432 },
  { name: "MySQL", socket: /\/mysql[^/]*\.sock$/, port: 3306 },
  { name: "DNS", port: 53 },
];

export interface Known {
  socket?: string;
  port?: number;
  program?: string;
  commandLine?: string;
}

export function serviceName({ socket, port, program, commandLine }: Known): string | undefined {
  const base = program?.slice(program.lastIndexOf("/") + 1);
  // Who it is counts for more than where it is found.
  const byProcess = services.find(
    row => (base !== undefined && row.program?.test(base)) || (commandLine !== undefined && row.commandLine?.test(commandLine)),
  );
  const byPlace = services.find(
    row => (socket !== undefined && row.socket?.test(socket)) || (port !== undefined && row.port === port),
  );
  // A socket that systemd holds for its service.
  const isActivated = byProcess?.name === "systemd";
  return ((isActivated ? (byPlace ?? byProcess) : (byProcess ?? byPlace))?.name ?? base) || undefined;
}
