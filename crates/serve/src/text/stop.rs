//! Stop strings: where a text ends because one of them stands there.

use crate::error::ApiError;

/// Strings at which a text is cut.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct StopStrings(Vec<String>);

/// Stop strings at most, and bytes of one.
const MOST: (usize, usize) = (16, 256);

impl StopStrings {
    /// The strings that a request gives in a field.
    ///
    /// # Errors
    /// When there are too many, or one is empty or too long.
    pub(crate) fn checked(strings: Vec<String>, param: &str) -> Result<Self, ApiError> {
        let (count, length) = MOST;
        if strings.len() > count {
            return Err(ApiError::field(param, format!("{} strings", strings.len()), &format!("at most {count}")));
        }
        if let Some(bad) = strings.iter().find(|stop| stop.is_empty() || stop.len() > length) {
            let given = format!("a string of {} bytes", bad.len());
            return Err(ApiError::field(param, given, &format!("1 to {length} bytes")));
        }
        Ok(Self::new(strings))
    }

    /// None of the strings may be empty.
    fn new(strings: Vec<String>) -> Self {
        Self(strings)
    }

    /// Where the first of them begins, of which everything before `from` is known to hold none.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<usize> {
        let longest = self.0.iter().map(String::len).max()?;
        let mut start = from.saturating_sub(longest);
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        self.0.iter().filter_map(|stop| text[start..].find(stop.as_str())).min().map(|offset| start + offset)
    }

    /// How much of a text can be shown: not an end that may be the beginning of a stop string.
    pub(crate) fn shown(&self, text: &str) -> usize {
        let may_begin = |start: &usize| {
            self.0.iter().any(|stop| stop.len() > text.len() - start && stop.starts_with(&text[*start..]))
        };
        let longest = self.0.iter().map(String::len).max().unwrap_or(0);
        let starts = text.char_indices().map(|(start, _)| start).filter(|start| text.len() - start < longest);
        starts.into_iter().find(may_begin).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_first_of_them() {
        let stop = StopStrings::new(vec!["###".to_owned(), "\n\n".to_owned()]);
        assert_eq!(stop.find("one\n\ntwo ###", 0), Some(3));
        assert_eq!(stop.find("one ###", 5), Some(4));
        assert_eq!(stop.find("ä##", 2), None);
        assert_eq!(StopStrings::default().find("one", 0), None);
    }

    #[test]
    fn what_may_become_one_is_held_back() {
        let stop = StopStrings::new(vec!["###".to_owned(), "äh".to_owned()]);
        assert_eq!(stop.shown("one"), 3);
        assert_eq!(stop.shown("one#"), 3);
        assert_eq!(stop.shown("one##"), 3);
        assert_eq!(stop.shown("one#."), 5);
        assert_eq!(stop.shown("onä"), 2);
    }
}
