//! Frames of a websocket (RFC 6455), written and read as a server does.

use std::io::{self, Read, Write};

/// The most bytes that a client has a reason to send in one frame.
const MOST: u64 = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Returns the bytes of a frame.
pub(super) fn frame(opcode: Opcode, is_last: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(opcode, is_last, payload.len() as u64);
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the head of a frame that says it has so many bytes.
pub(super) fn head(opcode: Opcode, is_last: bool, length: u64) -> Vec<u8> {
    let mut bytes = vec![u8::from(is_last) << 7 | opcode as u8];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => bytes.push(short),
        (_, Ok(medium)) => {
            bytes.push(126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

/// Writes the frame that closes the websocket.
pub(super) fn close(to: &mut impl Write, code: u16, reason: &str) -> io::Result<()> {
    let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
    to.write_all(&frame(Opcode::Close, true, &payload))
}

/// Reads a frame of a client, which is masked. Returns its opcode, as a number, and its payload.
pub(super) fn read(from: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    from.read_exact(&mut start)?;
    let length = match start[1] & 0x7f {
        126 => u64::from(u16::from_be_bytes(array(from)?)),
        127 => u64::from_be_bytes(array(from)?),
        short => u64::from(short),
    };
    if start[1] & 0x80 == 0 || length > MOST {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mask: [u8; 4] = array(from)?;
    let mut payload = Vec::new();
    from.take(length).read_to_end(&mut payload)?;
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((start[0] & 0x0f, payload))
}

fn array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_the_shortest_form() {
        for (length, bytes) in [
            (5, &[0x81, 5][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (0xffff, &[0x81, 126, 0xff, 0xff]),
            (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(head(Opcode::Text, true, length), bytes);
        }
        assert_eq!(frame(Opcode::Continuation, false, b"x"), [0, 1, b'x']);
    }

    #[test]
    fn frames_of_clients_are_unmasked_and_bounded() {
        let masked = [0x8a, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2];
        assert_eq!(read(&mut &masked[..]).unwrap(), (10, b"hi".to_vec()));
        assert!(read(&mut &[0x8a, 2, b'h', b'i'][..]).is_err(), "not masked");
        assert!(read(&mut &[0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4][..]).is_err());
    }
}
