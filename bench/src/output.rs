//! What the program says, in one place.
//!
//! `println!` panics where its reader has gone, as in `pd-bench report DIR | head -1`. Here what nobody reads any more is
//! dropped and the work goes on: files are still to be written, and simulated workers still to serve.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
};

/// `print!`, where nobody has to listen.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::say(format_args!($($text)*)) };
}

/// `println!`, where nobody has to listen.
macro_rules! outln {
    ($($text:tt)*) => { $crate::output::say(format_args!("{}\n", format_args!($($text)*))) };
}

/// `eprintln!`, where nobody has to listen.
macro_rules! errln {
    ($($text:tt)*) => { $crate::output::complain(format_args!($($text)*)) };
}

/// To standard output.
pub fn say(text: fmt::Arguments<'_>) {
    write(&mut io::stdout().lock(), text);
}

/// A line to standard error.
pub fn complain(text: fmt::Arguments<'_>) {
    write(&mut io::stderr().lock(), format_args!("{text}\n"));
}

fn write(to: &mut impl Write, text: fmt::Arguments<'_>) {
    match to.write_fmt(text).and_then(|()| to.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        // As `println!` does: a result that could not be written must not look like one that was.
        Err(error) => panic!("cannot write the output: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        write(&mut Refusing(ErrorKind::BrokenPipe), format_args!("text"));
    }

    #[test]
    #[should_panic(expected = "cannot write the output")]
    fn what_could_not_be_written_is_not_passed_over() {
        write(&mut Refusing(ErrorKind::StorageFull), format_args!("text"));
    }
}
