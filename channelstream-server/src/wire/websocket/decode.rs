//! Decoding of a client's websocket frames, in whatever pieces they arrive.

use bytes::Bytes;

use super::utf8::Utf8Check;
use super::{Close, CloseCode, MAX_CONTROL, close_frame};

/// The longest header: two bytes, eight for the length, four for the mask.
const MAX_HEADER: usize = 14;

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    /// A piece of a text message as it arrived. It may end inside a character, and its message may
    /// turn out to be invalid.
    Text(&'a [u8]),
    /// A text or binary message is complete and valid.
    Message,
    /// A ping, to be answered with this payload.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// The client closes; to be answered with the same content. Nothing follows.
    Close(Option<Close<'a>>),
}

/// How a client broke the protocol; its text is the reason in the close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A reserved bit is set though no extension was agreed on.
    #[error("reserved bit set")]
    ReservedBit,
    /// The opcode has no meaning.
    #[error("unknown opcode {0}")]
    UnknownOpcode(u8),
    /// A ping, pong or close has no final bit.
    #[error("fragmented control frame")]
    FragmentedControl,
    /// A ping, pong or close has more than 125 bytes.
    #[error("control frame over 125 bytes")]
    LongControl,
    /// A continuation came while no message was open.
    #[error("continuation without a message")]
    StrayContinuation,
    /// A new message began before the last fragment of the previous one.
    #[error("new message inside a fragmented one")]
    InterruptedMessage,
    /// A client's frame has no mask.
    #[error("frame without mask")]
    Unmasked,
    /// The top bit of a 64-bit length is set.
    #[error("frame length out of range")]
    LengthRange,
    /// The message, over all its fragments, is longer than the limit.
    #[error("message too big (max_client_message)")]
    TooBig,
    /// A text message is not UTF-8.
    #[error("text is not UTF-8")]
    TextNotUtf8,
    /// A close frame has one byte: it is neither empty nor a code.
    #[error("close frame with half a code")]
    HalfCloseCode,
    /// The close code is not allowed on the wire.
    #[error("invalid close code {0}")]
    InvalidCloseCode(u16),
    /// The reason in a close frame is not UTF-8.
    #[error("close reason is not UTF-8")]
    ReasonNotUtf8,
}

impl Violation {
    /// Returns the code to close with.
    pub(crate) fn code(self) -> CloseCode {
        match self {
            Self::TooBig => CloseCode::TOO_BIG,
            Self::TextNotUtf8 | Self::ReasonNotUtf8 => CloseCode::INVALID_DATA,
            Self::ReservedBit
            | Self::UnknownOpcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::StrayContinuation
            | Self::InterruptedMessage
            | Self::Unmasked
            | Self::LengthRange
            | Self::HalfCloseCode
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL,
        }
    }

    /// Returns the close frame to send before the socket is closed.
    pub(crate) fn close_frame(self) -> Bytes {
        close_frame(Some(Close { code: self.code(), reason: &self.to_string() }))
    }
}

/// Decodes the bytes of one client; see [`Decoder::read`].
///
/// Payloads of messages are passed on and never kept. The decoder allocates only for a control frame
/// that has not arrived completely.
pub(crate) struct Decoder {
    state: State,
    max_message: u64,
    /// Payload bytes that the open message may still have, beyond the current frame.
    room: u64,
    /// The message whose last frame has not ended yet.
    open: Option<Kind>,
    /// Whether the current data frame is the last of its message.
    last: bool,
    /// The open text message so far.
    text: Utf8Check,
}

/// The part of a frame to which the next byte belongs.
enum State {
    Header(Header),
    Data {
        left: u64,
        /// Rotated so that its first byte is for the next byte of payload.
        mask: [u8; 4],
    },
    Control(Box<Control>),
    /// A close or a violation has come: what follows is ignored.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opcode {
    Continuation,
    Begin(Kind),
    Control(ControlOpcode),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ControlOpcode {
    Close,
    Ping,
    Pong,
}

impl Decoder {
    /// Creates a decoder for the bytes after the handshake. `max_message` limits each message, over
    /// all its fragments, in bytes.
    pub(crate) fn new(max_message: u64) -> Self {
        Self {
            state: State::Header(Header::default()),
            max_message,
            room: 0,
            open: None,
            last: false,
            text: Utf8Check::default(),
        }
    }

    /// Takes all of the input and reports what became complete.
    ///
    /// Events and violations don't depend on how the stream is cut into calls. The input is
    /// unmasked in place and must not be used afterwards. After a close or a violation all input is
    /// ignored. A length in more bytes than it needs is accepted, since it has only one meaning.
    ///
    /// # Errors
    ///
    /// Returns the first [`Violation`] in the stream; the events before it have been reported.
    pub(crate) fn read(
        &mut self,
        input: &mut [u8],
        mut on_event: impl FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        let mut at = 0;
        while at < input.len() {
            match self.step(&mut input[at..], &mut on_event) {
                Ok(taken) => at += taken,
                Err(violation) => {
                    self.state = State::Closed;
                    return Err(violation);
                }
            }
        }
        Ok(())
    }

    /// Takes at least one byte of an input that isn't empty, and returns how many.
    fn step(
        &mut self,
        input: &mut [u8],
        on_event: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, Violation> {
        match &mut self.state {
            State::Header(header) => {
                let taken = header.fill(input);
                let Some(head) = header.check(self.open.is_some())? else { return Ok(taken) };
                // In the same step, since an empty payload has no further byte that would end it.
                Ok(taken + self.begin_payload(&head, &mut input[taken..], on_event)?)
            }
            State::Data { left, mask } => {
                let (left, mask) = (*left, *mask);
                self.take_data(left, mask, input, on_event)
            }
            State::Control(control) => {
                let taken = control.fill(input);
                if control.is_complete() {
                    let mut control = **control;
                    self.end_control(&mut control, on_event)?;
                }
                Ok(taken)
            }
            State::Closed => Ok(input.len()),
        }
    }

    /// Takes the beginning of a frame's payload, often all of it, and returns how many bytes it took.
    fn begin_payload(
        &mut self,
        head: &Head,
        input: &mut [u8],
        on_event: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, Violation> {
        match head.opcode {
            Opcode::Control(opcode) => {
                let mut control = Control::new(opcode, head.length, head.mask);
                let taken = control.fill(input);
                if control.is_complete() {
                    self.end_control(&mut control, on_event)?;
                } else {
                    self.state = State::Control(Box::new(control));
                }
                return Ok(taken);
            }
            Opcode::Begin(kind) => {
                self.open = Some(kind);
                self.room = self.max_message;
            }
            Opcode::Continuation => {}
        }
        self.room = self.room.checked_sub(head.length).ok_or(Violation::TooBig)?;
        self.last = head.last;
        self.take_data(head.length, head.mask, input, on_event)
    }

    /// Takes payload of the current data frame, which lacks `left` bytes, and returns how many bytes it
    /// took.
    fn take_data(
        &mut self,
        left: u64,
        mut mask: [u8; 4],
        input: &mut [u8],
        on_event: &mut impl FnMut(Incoming<'_>),
    ) -> Result<usize, Violation> {
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        if self.open == Some(Kind::Text) {
            let piece = &mut input[..taken];
            unmask(piece, mask);
            if !self.text.push(piece) {
                return Err(Violation::TextNotUtf8);
            }
            on_event(Incoming::Text(piece));
        }
        let left = left - taken as u64;
        if left > 0 {
            mask.rotate_left(taken % 4);
            self.state = State::Data { left, mask };
            return Ok(taken);
        }
        self.state = State::Header(Header::default());
        if self.last {
            if !self.text.is_complete() {
                return Err(Violation::TextNotUtf8);
            }
            self.open = None;
            on_event(Incoming::Message);
        }
        Ok(taken)
    }

    fn end_control(
        &mut self,
        control: &mut Control,
        on_event: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        let opcode = control.opcode;
        let payload = control.unmasked();
        match opcode {
            ControlOpcode::Ping => on_event(Incoming::Ping(payload)),
            ControlOpcode::Pong => on_event(Incoming::Pong(payload)),
            ControlOpcode::Close => {
                on_event(Incoming::Close(read_close(payload)?));
                self.state = State::Closed;
                return Ok(());
            }
        }
        self.state = State::Header(Header::default());
        Ok(())
    }
}

/// The header of a frame, as far as it has arrived.
#[derive(Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    filled: u8,
}

impl Header {
    /// Takes what the header still lacks from the input, and returns how many bytes it took.
    fn fill(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        for &byte in input {
            if self.is_complete() {
                break;
            }
            self.bytes[usize::from(self.filled)] = byte;
            self.filled += 1;
            taken += 1;
        }
        taken
    }

    fn is_complete(&self) -> bool {
        self.filled >= 2
            && self.filled
                == match self.short_length() {
                    127 => 14,
                    126 => 8,
                    _ => 6,
                }
    }

    /// Returns the seven bits of length; 126 and 127 announce a longer field.
    fn short_length(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// Checks what has arrived, which is at least one byte. Returns `None` while a part is missing.
    fn check(&self, message_open: bool) -> Result<Option<Head>, Violation> {
        let [first, second, rest @ ..] = self.bytes;
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = match first & 0x0f {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Begin(Kind::Text),
            0x2 => Opcode::Begin(Kind::Binary),
            0x8 => Opcode::Control(ControlOpcode::Close),
            0x9 => Opcode::Control(ControlOpcode::Ping),
            0xa => Opcode::Control(ControlOpcode::Pong),
            unknown => return Err(Violation::UnknownOpcode(unknown)),
        };
        let last = first & 0x80 != 0;
        match opcode {
            Opcode::Continuation if !message_open => return Err(Violation::StrayContinuation),
            Opcode::Begin(_) if message_open => return Err(Violation::InterruptedMessage),
            Opcode::Control(_) if !last => return Err(Violation::FragmentedControl),
            _ => {}
        }
        if self.filled < 2 {
            return Ok(None);
        }
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        if matches!(opcode, Opcode::Control(_)) && usize::from(self.short_length()) > MAX_CONTROL {
            return Err(Violation::LongControl);
        }
        if !self.is_complete() {
            return Ok(None);
        }
        let (length, mask) = match (self.short_length(), rest) {
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), mask)
            }
            (126, [a, b, mask @ .., _, _, _, _, _, _]) => (u16::from_be_bytes([a, b]).into(), mask),
            (length, [mask @ .., _, _, _, _, _, _, _, _]) => (length.into(), mask),
        };
        if length >> 63 != 0 {
            return Err(Violation::LengthRange);
        }
        Ok(Some(Head { opcode, last, length, mask }))
    }
}

/// A complete and valid header.
struct Head {
    opcode: Opcode,
    last: bool,
    length: u64,
    mask: [u8; 4],
}

/// A control frame as far as its payload has arrived.
#[derive(Clone, Copy)]
struct Control {
    opcode: ControlOpcode,
    mask: [u8; 4],
    payload: [u8; MAX_CONTROL],
    length: usize,
    filled: usize,
}

impl Control {
    /// Creates a frame without payload; `length` is checked to be within [`MAX_CONTROL`].
    fn new(opcode: ControlOpcode, length: u64, mask: [u8; 4]) -> Self {
        let length = usize::try_from(length).map_or(MAX_CONTROL, |length| length.min(MAX_CONTROL));
        Self { opcode, mask, payload: [0; MAX_CONTROL], length, filled: 0 }
    }

    /// Takes what the payload still lacks from the input, and returns how many bytes it took.
    fn fill(&mut self, input: &[u8]) -> usize {
        let taken = input.len().min(self.length - self.filled);
        self.payload[self.filled..self.filled + taken].copy_from_slice(&input[..taken]);
        self.filled += taken;
        taken
    }

    fn is_complete(&self) -> bool {
        self.filled == self.length
    }

    /// Unmasks the payload. Must be called only once.
    fn unmasked(&mut self) -> &[u8] {
        let payload = &mut self.payload[..self.length];
        unmask(payload, self.mask);
        payload
    }
}

/// Parses the payload of a close frame (RFC 6455 §5.5.1).
fn read_close(payload: &[u8]) -> Result<Option<Close<'_>>, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(None),
        [_] => return Err(Violation::HalfCloseCode),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let code = CloseCode::from_wire(code).ok_or(Violation::InvalidCloseCode(code))?;
    let reason = str::from_utf8(reason).map_err(|_| Violation::ReasonNotUtf8)?;
    Ok(Some(Close { code, reason }))
}

/// Removes the mask from `bytes`, whose first byte is masked with the mask's first.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word_mask = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ word_mask).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}
