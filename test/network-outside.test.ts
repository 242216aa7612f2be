// Processes outside of the build that it deals with without connecting to them: by a connection that they have made, through a FIFO, or
// by reaching into them. Each is Python, so that the ways are those of ordinary programs.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, realpathSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { plainEnvironment, type Ran, recordOf, run, Scratch, tracee, until, users } from "./harness.ts";
import { Outsiders, python, said } from "./outsiders.ts";

const limitMs = 60_000;

let server: Server;
let port = 0;
beforeAll(async () => {
  server = createServer(client => client.on("error", () => {}).end("hello from outside\n"));
  await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});
afterAll(() => void server.close());

const socketEntry = z.looseObject({
  family: z.string(),
  type: z.string(),
  fd: z.int(),
  origin: z.string().optional(),
  address: z.string().optional(),
  port: z.int().optional(),
});
const network = z.looseObject({ sockets: z.array(socketEntry).default([]) });
const summary = z.looseObject({ hermetic: z.boolean() });

/** Those that came from outside. */
const given = (ran: Ran) =>
  recordOf(ran)
    .processes.flatMap(process => (process.network === undefined ? [] : network.parse(process.network).sockets))
    .filter(socket => socket.origin !== undefined);
const detailOf = (ran: Ran, kind: string) => recordOf(ran).commandRun.completeness?.gaps.find(gap => gap.kind === kind)?.detail;
const verdictOf = (ran: Ran) => recordOf(ran).commandRun.completeness?.verdict;
const isHermetic = (ran: Ran) => summary.parse(recordOf(ran).commandRun.summary).hermetic;

/** An address of this machine that is not loopback. */
const ownAddress = Object.values(networkInterfaces())
  .flat()
  .find(one => one && !one.internal && one.family === "IPv4")?.address;

const outsiders = new Outsiders();
afterEach(() => outsiders.end());
const outside = (scratch: Scratch, program: string) => outsiders.start(scratch, program);

for (const user of users) {
  describe.skipIf(!python || ownAddress === undefined)(`as ${user}: another address of this machine than loopback`, () => {
    const serve = `import socket
tcp=socket.create_server(("${ownAddress}",0)); udp=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); udp.bind(("${ownAddress}",0))
`;
    const ask = (tcp: string, udp: string) =>
      `socket.create_connection(("${ownAddress}",${tcp})); socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b"x",("${ownAddress}",${udp}))`;

    test(
      "somebody outside answers there: a gap, with the program",
      async () => {
        using scratch = new Scratch(user);
        const server = outside(
          scratch,
          `${serve}print(f"{tcp.getsockname()[1]} {udp.getsockname()[1]}", flush=True); sys.stdin.read()`,
        );
        const [tcp = "", udp = ""] = (await said(server)).trim().split(" ");
        const ran = await run(scratch, [python ?? "", "-c", `import socket; ${ask(tcp, udp)}`], { trace: true });
        expect(ran.stderr).not.toContain("Traceback");
        for (const at of [tcp, udp]) expect(detailOf(ran, "delegated")).toContain(`${ownAddress}:${at}`);
        expect(detailOf(ran, "delegated")).toContain(`process ${server.pid}`);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["incomplete", false]);
      },
      limitMs,
    );

    for (const count of [1, 20]) {
      test(
        `one datagram for somebody outside behind ${count} for the build itself, in one call`,
        async () => {
          using scratch = new Scratch(user);
          const receiver = outside(
            scratch,
            `u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(("127.0.0.1",0)); print(u.getsockname()[1], flush=True); sys.stdin.read()`,
          );
          const at = (await said(receiver)).trim();
          const ran = await run(scratch, [tracee("outsider", scratch), "datagrams", `${count}`, at], { trace: true });
          expect(ran.stderr).not.toContain("tracee:");
          expect(detailOf(ran, "delegated")).toEndWith(
            `127.0.0.1:${at} (${realpathSync(python ?? "")}, process ${receiver.pid})`,
          );
          expect(verdictOf(ran)).toBe("incomplete");
        },
        limitMs,
      );
    }

    test(
      "a process of the build answers there: no gap",
      async () => {
        using scratch = new Scratch(user);
        const program = `${serve}${ask("tcp.getsockname()[1]", "udp.getsockname()[1]")}; udp.recv(1)`;
        const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
        expect(ran.stderr).not.toContain("Traceback");
        expect(verdictOf(ran)).toBe("complete");
      },
      limitMs,
    );
  });

  describe.skipIf(!python)(`as ${user}: connections that somebody outside has made`, () => {
    test(
      "inherited: a gap, with whom it is connected to",
      async () => {
        using scratch = new Scratch(user);
        const opener = `import os,socket,sys\ns=socket.create_connection(("127.0.0.1",${port})); os.dup2(s.fileno(),9); os.execvp(sys.argv[1],sys.argv[1:])`;
        const ran = await run(scratch, ["sh", "-c", "cat <&9"], { trace: true, before: [python ?? "", "-c", opener] });
        expect(ran.stdout.toString()).toBe("hello from outside\n");
        expect(given(ran)).toMatchObject([
          { family: "AF_INET", type: "SOCK_STREAM", fd: 9, origin: "inherited", address: "127.0.0.1", port },
        ]);
        expect(detailOf(ran, "foreign-descriptor")).toEndWith(`AF_INET to 127.0.0.1:${port} (inherited, descriptor 9)`);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["incomplete", false]);
      },
      limitMs,
    );

    test(
      "a unix socket as standard input is how some shells start their commands: listed, and no gap",
      async () => {
        using scratch = new Scratch(user);
        const opener = `import os,socket,sys\na,b=socket.socketpair(); b.send(b"hi"); b.shutdown(1); os.dup2(a.fileno(),0); os.set_inheritable(0,True); os.execvp(sys.argv[1],sys.argv[1:])`;
        const ran = await run(scratch, ["cat"], { trace: true, before: [python ?? "", "-c", opener] });
        expect(ran.stdout.toString()).toBe("hi");
        expect(given(ran)).toMatchObject([{ family: "AF_UNIX", fd: 0, origin: "inherited" }]);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["complete", false]);
      },
      limitMs,
    );

    test(
      "handed over with a message",
      async () => {
        using scratch = new Scratch(user);
        const giver = outside(
          scratch,
          `s=socket.create_connection(("127.0.0.1",${port})); l=socket.socket(socket.AF_UNIX); l.bind("giver"); l.listen()
c,_=l.accept(); socket.send_fds(c,[b"x"],[s.fileno()]); sys.stdin.read()`,
        );
        await until("the socket is there", () => existsSync(join(scratch.work, "giver")));
        const taker = `import socket\nc=socket.socket(socket.AF_UNIX); c.connect("giver"); _,n,_,_=socket.recv_fds(c,1,1); print(socket.socket(fileno=n[0]).recv(99).decode())`;
        const ran = await run(scratch, [python ?? "", "-c", taker], { trace: true });
        giver.stdin.end();
        expect(ran.stdout.toString()).toContain("hello from outside");
        expect(given(ran)).toMatchObject([
          { family: "AF_INET", type: "SOCK_STREAM", origin: "recvmsg", address: "127.0.0.1", port },
        ]);
        expect(given(ran)[0]?.fd).toBeGreaterThan(2);
        expect(detailOf(ran, "foreign-descriptor")).toContain(`AF_INET to 127.0.0.1:${port} (recvmsg, descriptor `);
        expect(verdictOf(ran)).toBe("incomplete");
      },
      limitMs,
    );

    test(
      "a file that comes over an inherited socket",
      async () => {
        using scratch = new Scratch(user);
        const opener = `import os,socket,sys
a,b=socket.socketpair(); f=os.open("/etc/hostname",os.O_RDONLY)
if os.fork()==0: os.close(0); os.execvp(sys.argv[1],sys.argv[1:]) if os.dup2(a.fileno(),0)==0 else 0
a.close(); socket.send_fds(b,[b"x"],[f]); os.wait()`;
        const taker = `import os,socket\n_,n,_,_=socket.recv_fds(socket.socket(fileno=0),1,1); os.read(n[0],99)`;
        const ran = await run(scratch, [python ?? "", "-c", taker], { trace: true, before: [python ?? "", "-c", opener] });
        expect(detailOf(ran, "foreign-descriptor")).toEndWith("/etc/hostname");
      },
      limitMs,
    );

    test(
      "sockets and files that go from one process of the build to another are no gap",
      async () => {
        using scratch = new Scratch(user);
        const program = `
import array,os,socket,sys
left,right=socket.socketpair(); server=socket.create_server(("127.0.0.1",0)); port=server.getsockname()[1]
if os.fork()==0:
  socket.create_connection(("127.0.0.1",port)).recv(9); os._exit(0)
accepted,_=server.accept(); own=socket.create_connection(("127.0.0.1",port)); pair=socket.socketpair()
handed=[accepted,own,server,pair[0],open("/etc/hostname")]
if os.fork()==0:
  _,numbers,_,_=socket.recv_fds(right,1,9); os._exit(0 if len(numbers)==5 else 1)
socket.send_fds(left,[b"x"],[one.fileno() for one in handed])
accepted.close(); sys.exit(sum(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)))`;
        const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
        expect(ran.status).toBe(0);
        expect(given(ran)).toEqual([]);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["complete", true]);
      },
      limitMs,
    );
  });

  describe.skipIf(!python)(`as ${user}: reaching into a process outside`, () => {
    const prelude = (pid: number, address = 0) => `
import ctypes,os,socket
libc=ctypes.CDLL(None,use_errno=True); libc.syscall.restype=ctypes.c_long; pid=${pid}; address=${address}
class part(ctypes.Structure): _fields_=[("base",ctypes.c_void_p),("size",ctypes.c_size_t)]
buffer=ctypes.create_string_buffer(b"other",6); own=part(ctypes.addressof(buffer),6); far=part(address,6)
`;
    const rows: [name: string, how: string, act: string][] = [
      [
        "its memory is read",
        "process_vm_readv",
        "r=libc.syscall(310,pid,ctypes.byref(own),1,ctypes.byref(far),1,ctypes.c_long(0))",
      ],
      [
        "its memory is written",
        "process_vm_writev",
        "r=libc.syscall(311,pid,ctypes.byref(own),1,ctypes.byref(far),1,ctypes.c_long(0))",
      ],
      ["its memory is opened", "open", 'r=os.open(f"/proc/{pid}/mem",os.O_RDONLY)'],
      ["it is attached to", "ptrace", "r=libc.ptrace(16,pid,0,0); os.waitpid(pid,0x40000000)"],
      ["its descriptor is taken", "pidfd_getfd", "r=libc.syscall(438,os.pidfd_open(pid),0,0)"],
      ["its pipe is opened", "of a pipe", 'r=os.open(f"/proc/{pid}/fd/0",os.O_WRONLY)'],
    ];
    for (const [name, how, act] of rows) {
      test(
        name,
        async () => {
          using scratch = new Scratch(user);
          const target = outside(
            scratch,
            `r,w=os.pipe(); os.dup2(r,0)
b=ctypes.create_string_buffer(b"inside",7); print(ctypes.addressof(b),flush=True); time.sleep(60)`,
          );
          const address = Number(await said(target));
          const program = `${prelude(target.pid, address)}${act}\nos._exit(0 if r>=0 else ctypes.get_errno())`;
          const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
          target.kill("SIGKILL");
          expect(ran.status).toBe(0);
          const detail = detailOf(ran, "outside-reached") ?? "";
          expect(detail).toContain(how);
          expect(detail).toContain("python");
          expect(detail).toContain(`process ${target.pid})`);
          expect(verdictOf(ran)).toBe("incomplete");
        },
        limitMs,
      );
    }

    test(
      "of the build's own processes it is no gap",
      async () => {
        using scratch = new Scratch(user);
        const program = `
import os,signal
child=os.fork()
if child==0: signal.pause()
${prelude(0).trim()}
pid=child; far.base=ctypes.addressof(buffer)
r=libc.syscall(310,pid,ctypes.byref(own),1,ctypes.byref(far),1,ctypes.c_long(0)); taken=libc.syscall(438,os.pidfd_open(pid),0,0)
memory=os.open(f"/proc/{pid}/mem",os.O_RDONLY); os.kill(child,9); os.wait(); os._exit(0 if r>=0 and taken>=0 else ctypes.get_errno())`;
        const ran = await run(scratch, [python ?? "", "-c", program], { trace: true });
        expect(ran.status).toBe(0);
        expect(verdictOf(ran)).toBe("complete");
      },
      limitMs,
    );
  });

  describe.skipIf(!python)(`as ${user}: a client at a unix socket of the build`, () => {
    const server =
      'import socket; s=socket.socket(socket.AF_UNIX); s.bind("sock"); s.listen(); print("x",flush=True); c,_=s.accept(); c.recv(9)';
    const client = `
c=socket.socket(socket.AF_UNIX)
while c.connect_ex("sock") != 0: time.sleep(0.01)
c.send(b"work"); sys.stdin.read()`;

    test(
      "from outside",
      async () => {
        using scratch = new Scratch(user);
        const other = outside(scratch, client);
        const ran = await run(scratch, [python ?? "", "-c", server], { trace: true });
        other.stdin.end();
        expect(ran.status).toBe(0);
        expect(detailOf(ran, "delegated")).toContain(`a client from outside (`);
        expect(detailOf(ran, "delegated")).toContain(`process ${other.pid})`);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["incomplete", false]);
      },
      limitMs,
    );

    test(
      "from the build is no gap",
      async () => {
        using scratch = new Scratch(user);
        const inside = `import socket,sys,time${client.replace("sys.stdin.read()", "c.close()")}`;
        const script = '"$0" -c "$1" & "$0" -c "$2"; wait';
        const ran = await run(scratch, ["sh", "-c", script, python ?? "", server, inside], { trace: true });
        expect(ran.status).toBe(0);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["complete", true]);
      },
      limitMs,
    );
  });

  describe.skipIf(!python)(`as ${user}: a FIFO`, () => {
    const fifo = (scratch: Scratch) => {
      const path = join(scratch.work, "fifo");
      expect(Bun.spawnSync(["mkfifo", "-m", "666", path]).exitCode).toBe(0);
      chmodSync(path, 0o666);
      return path;
    };
    const rows: [name: string, outsider: string, inside: string][] = [
      ["with a writer outside", 'f=open("fifo","w"); f.write("x"); f.flush(); sys.stdin.read()', "head -c 1 fifo"],
      ["with a reader outside", 'f=open("fifo"); f.read(1); sys.stdin.read()', "echo x >fifo"],
      [
        "that somebody outside holds besides the build's own ends",
        'f=os.open("fifo",os.O_RDWR); sys.stdin.read()',
        "exec 5<>fifo; echo x >&5",
      ],
    ];
    for (const [name, program, command] of rows) {
      test(
        name,
        async () => {
          using scratch = new Scratch(user);
          const path = fifo(scratch);
          const other = outside(scratch, `print("x",flush=True); ${program}`);
          await said(other);
          if (program.includes("O_RDWR"))
            await until("it is held", () => Bun.spawnSync(["ls", "-l", `/proc/${other.pid}/fd`]).stdout.includes(path));
          const ran = await run(scratch, ["sh", "-c", command], { trace: true });
          other.stdin.end();
          expect(ran.status).toBe(0);
          const detail = detailOf(ran, "delegated") ?? "";
          expect(detail).toContain(`FIFO ${path} (`);
          expect(detail).toContain(`process ${other.pid})`);
          expect([verdictOf(ran), isHermetic(ran)]).toEqual(["incomplete", false]);
        },
        limitMs,
      );
    }

    test(
      "that is the jobserver of a make outside: a gap that says so, since turns are bytes and bytes can be anything",
      async () => {
        using scratch = new Scratch(user);
        const path = fifo(scratch);
        const other = outside(scratch, 'f=os.open("fifo",os.O_RDWR); os.write(f,b"+"); print("x",flush=True); sys.stdin.read()');
        await said(other);
        const env = { ...plainEnvironment(scratch), MAKEFLAGS: ` -j2 --jobserver-auth=fifo:${path} --no-print-directory` };
        const ran = await run(scratch, ["sh", "-c", "exec 5<>fifo; head -c 1 <&5 >&5"], { trace: true, env });
        other.stdin.end();
        expect(ran.status).toBe(0);
        expect(detailOf(ran, "delegated")).toContain(`FIFO ${path}, the jobserver of a make outside (`);
        expect(detailOf(ran, "delegated")).toContain(`process ${other.pid})`);
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["incomplete", false]);
      },
      limitMs,
    );

    test(
      "whose other end was gone before we could look",
      async () => {
        using scratch = new Scratch(user);
        const path = fifo(scratch);
        const other = outside(scratch, `print("x",flush=True); open("fifo","w").close()`);
        await said(other);
        const ran = await run(scratch, ["sh", "-c", "cat fifo; sleep 0.2"], { trace: true });
        await other.exited;
        expect(detailOf(ran, "delegated")).toContain(`FIFO ${path}`);
        expect(verdictOf(ran)).toBe("incomplete");
      },
      limitMs,
    );

    test(
      "between two processes of the build is no gap",
      async () => {
        using scratch = new Scratch(user);
        const ran = await run(scratch, ["sh", "-c", "mkfifo own; echo x >own & cat own; wait; cat /dev/stdin </dev/null"], {
          trace: true,
        });
        expect(ran.stdout.toString()).toBe("x\n");
        expect([verdictOf(ran), isHermetic(ran)]).toEqual(["complete", true]);
      },
      limitMs,
    );
  });
}
