//! The events of a stream, found by their blank lines.

/// Splits a stream into events, however it was cut on the way.
#[derive(Default)]
pub(crate) struct Events {
    buffer: Vec<u8>,
    read: usize,
}

impl Events {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The data of the next whole event. Comments and other fields are no data.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.buffer[self.read..];
            let end = memchr::memmem::find(rest, b"\n\n")?;
            let start = self.read;
            self.read += end + 2;
            if self.buffer[start..].starts_with(b"data: ") {
                return Some(&self.buffer[start + 6..start + end]);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unread() == 0
    }

    /// Bytes of an event that has begun and not ended.
    pub(crate) fn unread(&self) -> usize {
        self.buffer.len() - self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_stream_is_cut() {
        let stream = b"data: one\n\n: comment\n\ndata: [DONE]\n\n";
        for cut in 0..stream.len() {
            let mut events = Events::default();
            let mut found = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                events.push(part);
                while let Some(event) = events.next() {
                    found.push(event.to_vec());
                }
            }
            assert_eq!(found, [b"one".to_vec(), b"[DONE]".to_vec()], "cut at {cut}");
            assert!(events.is_empty());
        }
    }
}
