// What a program is called in a line for a person.

export interface NamedProgram {
  /** As the record has it. */
  program: string | undefined;
  /** Its first word, which is whatever its caller wanted. */
  calledAs: string | undefined;
}

/** Names of an open file, which say nothing of the program (applets of busybox are started by the first, fexecve(3) uses the others). */
const procLink = /^\/proc\/(?:self|thread-self|\d+)\/(?:task\/\d+\/)?(?:exe|fd\/\d+)$|^\/dev\/fd\/\d+$/;

/** The last part of its path. Behind a link of /proc it is what the program was called as, and the link beside it says that nobody vouches for that. */
export function programName({ program, calledAs }: NamedProgram): string | undefined {
  if (program === undefined || program === "") return undefined;
  const name = lastPart(program);
  if (!procLink.test(program)) return name;
  const called = lastPart(calledAs ?? "");
  return called === "" || called === name ? program : `${called} (${program})`;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
