// The page's websocket: says what the page watches, passes on what comes, and comes back by itself.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8_000;
const SIGNED_OUT_WAIT = 5_000;
// The server speaks every second.
const SILENCE = 6_000;
// How soon after another a change of what is watched is sent.
const PAUSE = 50;

export class Live {
  #told;
  #standing;
  #socket = null;
  #wanted = '{}';
  #sent = null;
  #sending = null;
  #heard = 0;
  #wait = FIRST_WAIT;
  #again = null;
  #probing = false;

  /**
   * `told` gets each object that the server sends; `standing` gets 'live', 'gone', 'signed-out',
   * 'blocked', or 'refused' and why, whenever that changes.
   */
  constructor(told, standing) {
    this.#told = told;
    this.#standing = standing;
    setInterval(() => this.#checkSilence(), 2_000);
    addEventListener('online', () => this.#wake());
    addEventListener('focus', () => this.#wake());
    document.addEventListener('visibilitychange', () => document.hidden || this.#wake());
    this.#open();
  }

  /** Watches this from now on. */
  watch(what) {
    this.#wanted = JSON.stringify(what);
    this.#sending ??= setTimeout(() => {
      this.#sending = null;
      this.#send();
    }, PAUSE);
  }

  #send() {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#sent === this.#wanted) return;
    this.#sent = this.#wanted;
    this.#socket.send(this.#wanted);
  }

  #open() {
    clearTimeout(this.#again);
    this.#again = null;
    const address = new URL('admin/ws', document.baseURI);
    address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(address);
    this.#socket = socket;
    this.#sent = null;
    this.#heard = Date.now();
    socket.addEventListener('open', () => this.#send());
    socket.addEventListener('message', ({ data }) => {
      if (socket !== this.#socket) return;
      this.#heard = Date.now();
      this.#wait = FIRST_WAIT;
      this.#standing('live');
      this.#told(JSON.parse(data));
    });
    socket.addEventListener('close', () => socket === this.#socket && this.#lost());
  }

  /** Finds out why there is no socket, says so, and tries again. */
  async #lost() {
    this.#socket = null;
    const standing = await this.#probe();
    if (this.#socket) return;
    if (standing === 'signed-out') {
      this.#standing('signed-out');
      this.#retry(SIGNED_OUT_WAIT);
      return;
    }
    // One that was only lost is opened anew without a word; others have failed before.
    if (standing === 'gone' || this.#wait > FIRST_WAIT) {
      const why = standing === 'gone' ? null : await this.#refusal();
      if (this.#socket) return;
      if (why) this.#standing('refused', why);
      else this.#standing(standing === 'gone' ? 'gone' : 'blocked');
    }
    this.#retry(this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #retry(after) {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#tryAgain(), after);
  }

  async #tryAgain() {
    // A socket that is refused is logged as an error by browsers; a request that is answered is not.
    if ((await this.#probe()) === 'there') {
      if (!this.#socket) this.#open();
    } else if (!this.#socket) this.#lost();
  }

  /** Whether the server is 'there' for who is signed in, or 'signed-out', or 'gone'. */
  async #probe() {
    try {
      const answer = await fetch('admin', {
        method: 'HEAD', cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout(10_000),
      });
      if (answer.type === 'opaqueredirect') return 'signed-out';
      return answer.ok ? 'there' : 'gone';
    } catch {
      return 'gone';
    }
  }

  /** Why the server itself refuses this page, which a socket does not tell; null if it does not. */
  async #refusal() {
    try {
      const answer = await fetch('admin/api/info', {
        method: 'OPTIONS', headers: { 'Content-Type': 'application/json' }, cache: 'no-store',
        redirect: 'manual', signal: AbortSignal.timeout(10_000),
      });
      return answer.status === 403 ? (await answer.json()).message : null;
    } catch {
      return null;
    }
  }

  #checkSilence() {
    if (this.#socket && Date.now() - this.#heard > SILENCE) this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#lost();
  }

  /** Somebody looks at the page, or the network is back: they may have signed out or in elsewhere. */
  async #wake() {
    if (this.#probing) return;
    this.#probing = true;
    const standing = await this.#probe();
    this.#probing = false;
    if (this.#socket) {
      if (standing === 'signed-out') this.#drop();
    } else if (standing === 'there' && this.#again) {
      this.#wait = FIRST_WAIT;
      this.#open();
    }
  }
}
