//! A file that is written by a thread of its own, whose failures somebody has to hear of: a full disk loses lines and not
//! requests, and the console says so, once when it begins and once when it is over.

use std::io::{self, Write};

/// A writer that never fails: what can't be written is lost, and counted.
#[derive(Debug)]
pub struct Told<W> {
    inner: W,
    /// For the console: `--request-log FILE`.
    what: String,
    /// Pieces that were lost since the last one that was written.
    lost: u64,
}

impl<W> Told<W> {
    pub const fn new(inner: W, what: String) -> Self {
        Self {
            inner,
            what,
            lost: 0,
        }
    }
}

impl<W: Write> Told<W> {
    fn try_write(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.lost > 0 {
            // A line may have been written in part: the next one must not go on with it.
            self.inner.write_all(b"\n")?;
        }
        self.inner.write_all(piece)
    }
}

impl<W: Write> Write for Told<W> {
    /// Takes all of a line, or loses it.
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match self.try_write(piece) {
            Ok(()) if self.lost > 0 => {
                tracing::warn!(file = self.what, lost = self.lost, "is written again");
                self.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                if self.lost == 0 {
                    // Whoever reads the log files instead of the console may not get this: it is their disk, too.
                    tracing::error!(file = self.what, %error, "cannot be written: lines are lost, requests are not");
                }
                self.lost += 1;
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // What a flush can't write is missing from the next write's success, too.
        let _ = self.inner.flush();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let fits = piece.len().min(self.room);
            if fits == 0 {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.room -= fits;
            self.written.extend_from_slice(&piece[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_first_one_after_it_stands_alone() {
        let disk = Disk {
            room: 9,
            written: Vec::new(),
        };
        let mut told = Told::new(disk, "a log".to_owned());
        for line in ["first\n", "second\n", "third\n"] {
            told.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(told.lost, 2);
        told.inner.room = 100;
        told.write_all(b"fourth\n").unwrap();
        assert_eq!(told.lost, 0);
        let written = String::from_utf8(told.inner.written).unwrap();
        assert_eq!(written, "first\nsec\nfourth\n");
    }
}
