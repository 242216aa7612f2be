// Work that is handed to a daemon: real ones, started by the test, and real clients of theirs. Started outside of the build each is a gap
// with its name, process and digest; started within the build it is seen, and none.
import { afterEach, describe, expect, test } from "bun:test";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { canStartDocker, Docker } from "./docker.ts";
import { plainEnvironment, type Ran, recordOf, run, Scratch, until, users } from "./harness.ts";
import { asUser, Outsiders, python } from "./outsiders.ts";

const limitMs = 60_000;
const outsiders = new Outsiders();
afterEach(() => outsiders.end());

const peer = z.looseObject({
  service: z.string().optional(),
  processid: z.int().optional(),
  program: z.string().optional(),
  programdigest: z.looseObject({ sha256: z.string() }).optional(),
});
const network = z.looseObject({ connections: z.array(z.looseObject({ peer: peer.optional() })).default([]) });
const summary = z.looseObject({ hermetic: z.boolean() });
const gapOf = (ran: Ran) => recordOf(ran).commandRun.completeness?.gaps.find(({ kind }) => kind === "delegated");
const isHermetic = (ran: Ran) => summary.parse(recordOf(ran).commandRun.summary).hermetic;
const peersOf = (ran: Ran) =>
  recordOf(ran)
    .processes.flatMap(({ network: of }) => (of === undefined ? [] : network.parse(of).connections))
    .flatMap(connection => (connection.peer === undefined ? [] : [connection.peer]));

interface Daemon {
  service: string;
  /** How it is reached, in the name of the test. */
  by: string;
  needs: string[];
  /** Programs and arguments; what is relative is so to the scratch's directory. */
  daemon: (scratch: Scratch) => string[];
  /** Succeeds as soon as the daemon answers. */
  client: (scratch: Scratch) => string[];
  /** Says its own process, where that is another one than was started; and ends it. */
  own?: string[];
  stop?: string[];
  /** Its program may not be read by an ordinary user: set-gid. */
  isHidden?: true;
}

/** An answer to whatever comes, in a program whose words are those of a daemon that runs in another one. */
const answering = (...words: string[]) => [
  ...[python ?? "", "-c"],
  `import socket,sys
s=socket.create_server(("127.0.0.1",int(sys.argv[1])))
while True: c,_=s.accept(); c.recv(99); c.close()`,
  ...words,
];
const calling = (port: number) => [
  ...[python ?? "", "-c"],
  `import socket\nc=socket.create_connection(("127.0.0.1",${port})); c.send(b"build"); c.recv(9)`,
];

/** Not among those that the kernel gives to clients. */
const port = 20_000 + (process.pid % 10_000);

const dbus = (address: (scratch: Scratch) => string) => ({
  service: "D-Bus",
  needs: ["dbus-daemon", "dbus-send"],
  daemon: (scratch: Scratch) => ["dbus-daemon", "--session", "--nofork", "--nopidfile", `--address=${address(scratch)}`],
  client: (scratch: Scratch) => [
    ...["dbus-send", `--bus=${address(scratch)}`, "--print-reply", "--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"],
    "org.freedesktop.DBus.ListNames",
  ],
});

const daemons: readonly Daemon[] = [
  { ...dbus(scratch => `unix:path=${scratch.work}/bus`), by: "by a path" },
  { ...dbus(scratch => `unix:abstract=${scratch.path}`), by: "by an abstract name" },
  {
    service: "ssh-agent",
    by: "by its socket",
    needs: ["ssh-agent", "ssh-add"],
    daemon: () => ["ssh-agent", "-D", "-a", "agent"],
    // 1: it has no keys.
    client: () => ["sh", "-c", "SSH_AUTH_SOCK=agent ssh-add -l; test $? -le 1"],
    isHidden: true,
  },
  {
    // It listens, and goes on as a child of the process that has done so.
    service: "gpg-agent",
    by: "by its socket",
    needs: ["gpg-agent", "gpg-connect-agent"],
    daemon: () => ["gpg-agent", "--homedir", ".", "--quiet", "--daemon"],
    client: () => ["sh", "-c", "test -S S.gpg-agent && gpg-connect-agent --homedir . --no-autostart 'getinfo version' /bye"],
    own: ["gpg-connect-agent", "--homedir", ".", "--no-autostart", "getinfo pid", "/bye"],
    stop: ["gpg-connect-agent", "--homedir", ".", "--no-autostart", "killagent", "/bye"],
  },
  {
    service: "gradle",
    by: "by a port",
    needs: [],
    daemon: () => answering(`${port}`, "org.gradle.launcher.daemon.bootstrap.GradleDaemon", "8.5"),
    client: () => calling(port),
  },
  {
    service: "bazel",
    by: "by a port",
    needs: [],
    daemon: () => answering(`${port}`, "-jar", "/home/user/.cache/bazel/install/A-server.jar"),
    client: () => calling(port),
  },
  {
    service: "sccache",
    by: "by its program",
    needs: [],
    daemon: () => ["env", "PYTHONHOME=/usr", "./sccache", ...answering(`${port}`).slice(1)],
    client: () => calling(port),
  },
];

for (const { service, by, needs, daemon, client, own, stop, isHidden } of daemons) {
  const missing = needs.find(program => !Bun.which(program)) ?? (python ? undefined : "python3");
  if (missing !== undefined) console.log(`network-daemons: ${service} skipped, no ${missing}`);
  for (const user of users) {
    describe.skipIf(missing !== undefined)(`${service}, ${by}, as ${user}`, () => {
      const scratchFor = () => {
        const scratch = new Scratch(user);
        if (service === "sccache") copyFileSync(python ?? "", join(scratch.work, "sccache"));
        return scratch;
      };

      test(
        "outside",
        async () => {
          using scratch = scratchFor();
          const env = { ...plainEnvironment(scratch), HOME: scratch.work };
          const started = outsiders.spawn(scratch, daemon(scratch), { env });
          const outside = (words: string[]) => Bun.spawnSync(asUser(user, words), { cwd: scratch.work, env, stderr: "ignore" });
          await until("it answers", () => outside(client(scratch)).exitCode === 0);
          const pid = own ? Number(/\d+/.exec(outside(own).stdout.toString())?.[0]) : started.pid;
          const ran = await run(scratch, client(scratch), { trace: true, env });
          expect(ran.status).toBe(0);
          expect(gapOf(ran)?.detail).toContain(`${service} at `);
          expect(isHermetic(ran)).toBe(false);
          // Who listens is another process than who has called listen, and hides its descriptors from other users.
          if (own && user === "nobody") return void outside(stop ?? []);
          expect(gapOf(ran)?.detail).toContain(`process ${pid})`);
          const [known] = peersOf(ran);
          expect(known).toMatchObject({ service, processid: pid });
          if (!isHidden || user === "self") {
            const digest = new Bun.CryptoHasher("sha256").update(readFileSync(`/proc/${pid}/exe`)).digest("hex");
            expect(known?.programdigest?.sha256).toBe(digest);
          }
          if (stop) outside(stop);
        },
        limitMs,
      );

      test(
        "within the build",
        async () => {
          using scratch = scratchFor();
          const env = { ...plainEnvironment(scratch), HOME: scratch.work };
          const quoted = (words: string[]) => words.map(word => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
          const script = `${quoted(daemon(scratch))} >/dev/null 2>&1 & until ${quoted(client(scratch))} 2>/dev/null; do sleep 0.05; done; ${stop ? quoted(stop) : "kill $!"}; wait`;
          const ran = await run(scratch, ["sh", "-c", script], { trace: true, env });
          expect(ran.status).toBe(0);
          expect(gapOf(ran)).toBeUndefined();
          expect(peersOf(ran)).toEqual([]);
        },
        limitMs,
      );
    });
  }
}

if (!canStartDocker) console.log("network-daemons: docker skipped, not root, or no dockerd");
describe.skipIf(!canStartDocker)("docker", () => {
  test(
    "its daemon, asked for its version",
    async () => {
      await using docker = new Docker();
      await docker.ready();
      using scratch = new Scratch();
      const ran = await run(scratch, ["docker", "--host", docker.host, "version"], { trace: true });
      expect(ran.status).toBe(0);
      const gap = gapOf(ran);
      expect(gap?.detail).toContain(`docker at ${docker.host.replace("//", "")} (`);
      expect(gap?.detail).toContain(`process ${docker.pid})`);
      expect(peersOf(ran)[0]).toMatchObject({ service: "docker", processid: docker.pid });
    },
    limitMs,
  );
});
