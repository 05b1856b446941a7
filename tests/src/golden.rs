//! Golden files: what was found in a run, committed as what is expected of the next.
//!
//! `GOLDEN=update` writes them, as it does everywhere in this project.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// The time between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to look.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Until there is something to compare.
    pub guard: Duration,
    /// From then on, until it is right.
    pub patience: Duration,
}

/// Looks until what is found is what the file says. `look` finds None while there is nothing to compare. The error shows
/// the difference to what was found last.
///
/// With `GOLDEN=update` it writes what two looks in a row have found.
pub fn eventually(file: &Path, times: Times, look: impl FnMut() -> Result<Option<String>>) -> Result<()> {
    if std::env::var("GOLDEN").is_ok_and(|value| value == "update") {
        let mut before = None;
        let found = look_until(times, look, |found| before.replace(found.to_owned()).as_deref() == Some(found))?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::write(file, found).with_context(|| file.display().to_string());
    }
    let expected =
        fs::read_to_string(file).with_context(|| format!("there is no {}; GOLDEN=update writes it", file.display()))?;
    let found = look_until(times, look, |found| found == expected)?;
    ensure!(
        found == expected,
        "{} differs from what was found (+); GOLDEN=update writes it, if that is right:\n{}",
        file.display(),
        difference(&expected, &found)
    );
    Ok(())
}

/// What was found last, at the latest when the times are over.
fn look_until(
    times: Times,
    mut look: impl FnMut() -> Result<Option<String>>,
    mut is_right: impl FnMut(&str) -> bool,
) -> Result<String> {
    let start = Instant::now();
    let mut deadline = start + times.guard;
    let mut last = None;
    loop {
        if let Some(found) = look()? {
            if last.is_none() {
                deadline = Instant::now() + times.patience;
            }
            if is_right(&found) {
                return Ok(found);
            }
            last = Some(found);
        }
        if Instant::now() >= deadline {
            return last.with_context(|| format!("nothing to compare was found in {} s", start.elapsed().as_secs()));
        }
        thread::sleep(PAUSE);
    }
}

/// Two texts as one: lines of both as they are, those that are only expected or only found marked.
fn difference(expected: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(one, other)| one == other).count();
    let (left, right) = (&expected[same..], &found[same..]);
    let end = left.iter().rev().zip(right.iter().rev()).take_while(|(one, other)| one == other).count();
    let mut text = String::new();
    let mut mark = |mark: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{mark} {line}");
        }
    };
    mark(' ', &expected[..same]);
    mark('-', &left[..left.len() - end]);
    mark('+', &right[..right.len() - end]);
    mark(' ', &left[left.len() - end..]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_both_sides_within_what_is_the_same() {
        assert_eq!(difference("a\nb\nc\nd\n", "a\nx\ny\nd\n"), "  a\n- b\n- c\n+ x\n+ y\n  d\n");
        assert_eq!(difference("a\na\n", "a\n"), "  a\n- a\n");
        assert_eq!(difference("", "a\n"), "+ a\n");
    }

    #[test]
    fn what_comes_and_goes_only_has_to_be_right_once() {
        let seconds =
            |guard, patience| Times { guard: Duration::from_secs(guard), patience: Duration::from_secs(patience) };
        let mut looks = [None, Some("wrong"), Some("right")].into_iter();
        let look = || Ok(looks.next().flatten().map(str::to_owned));
        assert!(look_until(seconds(30, 30), look, |found| found == "right").is_ok_and(|found| found == "right"));
        let wrong = look_until(seconds(30, 0), || Ok(Some("wrong".to_owned())), |found| found == "right");
        assert!(wrong.is_ok_and(|found| found == "wrong"), "what was found last is told");
        assert!(look_until(seconds(0, 30), || Ok(None), |_| true).is_err());
    }
}
