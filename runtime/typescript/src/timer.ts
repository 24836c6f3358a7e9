// Node's timers end at 2^31-1 ms, at once where more is asked for.

const most = 2 ** 31 - 1;

/** Calls back once, after so many milliseconds, which may be any number. */
export class Timer {
  private timeout: NodeJS.Timeout;

  constructor(ms: number, ring: () => void) {
    this.timeout = this.set(performance.now() + ms, ring);
  }

  private set(at: number, ring: () => void): NodeJS.Timeout {
    const left = at - performance.now();
    return setTimeout(() => {
      if (left <= most) {
        ring();
      } else {
        this.timeout = this.set(at, ring);
      }
    }, Math.min(Math.ceil(Math.max(left, 0)), most));
  }

  stop(): void {
    clearTimeout(this.timeout);
  }
}
