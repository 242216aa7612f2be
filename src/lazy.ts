// Values that cost time to make and are often not needed: a schema takes 0.25 ms, and importing modules is most of the
// time that it takes to start.

/** Makes the value at the first call. */
export function lazy<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
