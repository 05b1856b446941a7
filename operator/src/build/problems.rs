//! Several problems reported at once.

use std::fmt;

/// Everything that is wrong with one input; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems<E>(Vec<E>);

impl<E> Problems<E> {
    /// `value` if nothing was found to be wrong.
    pub(super) fn or<T>(found: Vec<E>, value: T) -> Result<T, Self> {
        if found.is_empty() { Ok(value) } else { Err(Self(found)) }
    }

    /// Each problem, in the order of the fields.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.0.iter()
    }
}

impl<E> From<E> for Problems<E> {
    fn from(problem: E) -> Self {
        Self(vec![problem])
    }
}

impl<E: fmt::Display> fmt::Display for Problems<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Problems<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_stand_on_one_line() {
        assert_eq!(Problems::or(Vec::<&str>::new(), 1), Ok(1));
        assert_eq!(
            Problems::or(vec!["one", "two"], 1).map_err(|problems| problems.to_string()),
            Err("one; two".into())
        );
    }
}
