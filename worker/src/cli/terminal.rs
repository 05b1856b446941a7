//! What is written where: results to standard output, with colours only for people.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

/// How words are marked; without colours on anything but a terminal, and with `NO_COLOR` set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    colours: bool,
}

impl Style {
    /// Without colours.
    pub(super) const PLAIN: Self = Self { colours: false };

    /// What suits a stream.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colours: stream.is_terminal() && !refused && !dumb }
    }

    /// Whether words are marked at all.
    pub(super) fn has_colours(self) -> bool {
        self.colours
    }

    pub(super) fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn removed(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Standard output. A reader that went away (`millstream check … | head`) ends the writing, and is no error.
pub(super) struct Output {
    inner: Box<dyn Write>,
    style: Style,
    gone: bool,
}

impl Output {
    /// The process' standard output.
    pub(super) fn stdout() -> Self {
        let stdout = io::stdout();
        Self { style: Style::of(&stdout), inner: Box::new(BufWriter::new(stdout)), gone: false }
    }

    /// Into anything, without colours.
    #[cfg(test)]
    pub(super) fn plain(inner: impl Write + 'static) -> Self {
        Self { style: Style::PLAIN, inner: Box::new(inner), gone: false }
    }

    /// Whether its reader went away, so that nobody sees what is written.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// How words are marked here.
    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.attempt(|inner| writeln!(inner, "{text}"))
    }

    /// Writes everything out.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.attempt(|inner| inner.flush())
    }

    fn attempt(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        match write(&mut self.inner) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            other => other,
        }
    }
}

/// `1 record`, `2 records`.
pub(super) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_error_but_a_full_disk_is() {
        let mut output = Output::plain(Closed);
        output.line("lost").unwrap();
        output.flush().unwrap();
        assert_eq!(Output::plain(Full).line("lost").unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn marks_only_where_colours_are_wanted() {
        assert_eq!(Style::PLAIN.error("x"), "x");
        assert_eq!(Style { colours: true }.error("x"), "\x1b[1;31mx\x1b[0m");
    }

    #[test]
    fn counts_read_as_words() {
        assert_eq!([count(0, "test"), count(1, "test"), count(2, "test")], ["0 tests", "1 test", "2 tests"]);
    }
}
