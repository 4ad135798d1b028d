//! What a run shows of itself while it lasts: one line on stderr, on a terminal only.

use indicatif::{FormattedDuration, ProgressBar, ProgressState, ProgressStyle};
use std::{fmt, time::Duration};

/// The bar takes what the words leave of the terminal's width: a line that is broken in two can't be cleared in one.
const LINE: &str = "{wide_bar} {pos}/{len}{rate}, {elapsed_precise} passed{left}{msg}";

/// A line for so many requests, which moves on once a second whatever happens.
pub(super) fn line(requests: usize) -> ProgressBar {
    let bar = ProgressBar::new(requests as u64);
    let style = ProgressStyle::with_template(LINE).expect("the template is a good one");
    bar.set_style(style.with_key("rate", rate).with_key("left", left));
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    if state.pos() > 0 {
        // A terminal that can't be written to shows nothing.
        let _ = write!(text, ", {:.1} req/s", state.per_sec());
    }
}

/// Until a request has ended nobody knows.
fn left(state: &ProgressState, text: &mut dyn fmt::Write) {
    if state.pos() > 0 {
        let _ = write!(text, ", {} left", FormattedDuration(state.eta()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::{io, sync::mpsc};

    /// More pieces than one drawing has.
    const PIECES: usize = 100;

    /// A terminal that passes on what is written to it.
    #[derive(Debug)]
    struct Terminal {
        width: u16,
        written: mpsc::SyncSender<String>,
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.width
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            let sent = self.written.try_send(text.to_owned());
            sent.map_err(io::Error::other)
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(width: u16, ended: u64) -> String {
        let (written, pieces) = mpsc::sync_channel(PIECES);
        let bar = line(100_000);
        bar.disable_steady_tick();
        bar.set_position(ended);
        let terminal = Terminal { width, written };
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal)));
        bar.force_draw();
        pieces.try_iter().collect()
    }

    #[test]
    fn the_line_fits_the_terminal_and_fills_it() {
        for width in [80, 120] {
            for ended in [0, 1] {
                let line = shown(width, ended);
                let found = line.trim_end().chars().count();
                assert_eq!(found, usize::from(width), "{line}");
            }
        }
    }

    #[test]
    fn before_a_request_has_ended_it_says_nothing_of_the_rest() {
        let (before, after) = (shown(80, 0), shown(80, 1));
        assert!(before.contains(" 0/100000, 00:00:0"), "{before}");
        assert!(!before.contains("left"), "{before}");
        assert!(after.contains(" left"), "{after}");
    }
}
