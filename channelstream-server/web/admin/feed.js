// The websocket of the page: names the subscribed views, passes on the updates, and reconnects.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8_000;
const SIGNED_OUT_WAIT = 5_000;
// The server sends every second.
const SILENCE = 6_000;
// The least time between two changes of the subscription.
const PAUSE = 50;

export class Feed {
  #received;
  #changed;
  #socket = null;
  #wanted = '{}';
  #sent = null;
  #sending = null;
  #last = 0;
  #wait = FIRST_WAIT;
  #again = null;
  #probing = false;

  /**
   * `received` is called with each object that the server sends. `changed` is called with the state:
   * 'live', 'gone', 'signed-out', 'blocked', or 'refused' and the reason.
   */
  constructor(received, changed) {
    this.#received = received;
    this.#changed = changed;
    setInterval(() => this.#checkSilence(), 2_000);
    addEventListener('online', () => this.#wake());
    addEventListener('focus', () => this.#wake());
    document.addEventListener('visibilitychange', () => document.hidden || this.#wake());
    this.#open();
  }

  /** Subscribes to these views, in the place of earlier ones. */
  subscribe(views) {
    this.#wanted = JSON.stringify(views);
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
    this.#last = Date.now();
    socket.addEventListener('open', () => this.#send());
    socket.addEventListener('message', ({ data }) => {
      if (socket !== this.#socket) return;
      this.#last = Date.now();
      this.#wait = FIRST_WAIT;
      this.#changed('live');
      this.#received(JSON.parse(data));
    });
    socket.addEventListener('close', () => socket === this.#socket && this.#lost());
  }

  /** Finds out why there is no socket, reports that, and tries again. */
  async #lost() {
    this.#socket = null;
    const found = await this.#probe();
    if (this.#socket) return;
    if (found === 'signed-out') {
      this.#changed('signed-out');
      this.#retry(SIGNED_OUT_WAIT);
      return;
    }
    // A socket that was only lost is opened again silently. Only a repeated failure is reported.
    if (found === 'gone' || this.#wait > FIRST_WAIT) {
      const reason = found === 'gone' ? null : await this.#refusal();
      if (this.#socket) return;
      if (reason) this.#changed('refused', reason);
      else this.#changed(found === 'gone' ? 'gone' : 'blocked');
    }
    this.#retry(this.#wait * (0.75 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #retry(after) {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#tryAgain(), after);
  }

  async #tryAgain() {
    // Browsers log a refused websocket as an error, but not an answered request.
    if ((await this.#probe()) === 'there') {
      if (!this.#socket) this.#open();
    } else if (!this.#socket) this.#lost();
  }

  /** Returns 'there' if the server answers and the session is valid, or 'signed-out', or 'gone'. */
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

  /** Returns why the server refuses this page, or null. A websocket does not report that. */
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
    if (this.#socket && Date.now() - this.#last > SILENCE) this.#drop();
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#lost();
  }

  /** The page is in view again, or the network is back: the session may have changed elsewhere. */
  async #wake() {
    if (this.#probing) return;
    this.#probing = true;
    const found = await this.#probe();
    this.#probing = false;
    if (this.#socket) {
      if (found === 'signed-out') this.#drop();
    } else if (found === 'there' && this.#again) {
      this.#wait = FIRST_WAIT;
      this.#open();
    }
  }
}
