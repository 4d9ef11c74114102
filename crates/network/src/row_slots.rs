//! Results of rows that come from any thread, in any order.

use crate::NetworkError;
use std::sync::OnceLock;

/// A slot for the result of each row of a pass: rows are read by any thread in any order
/// ([`crate::WholeRows::forward_rows`]), each of them once, and their results are wanted in the order asked.
#[derive(Debug)]
pub struct RowSlots<T>(Vec<OnceLock<T>>);

impl<T> RowSlots<T> {
    /// Empty slots for `count` rows.
    pub fn new(count: usize) -> Self {
        Self(std::iter::repeat_with(OnceLock::new).take(count).collect())
    }

    /// Keeps the result of a row.
    ///
    /// # Panics
    /// When the row has one already, or there is no such row.
    pub fn set(&self, index: usize, value: T) {
        assert!(self.0[index].set(value).is_ok(), "row {index} was answered twice");
    }

    /// The result of a row, if it is there.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index).and_then(OnceLock::get)
    }

    /// All results, in the order asked.
    ///
    /// # Errors
    /// When a row has none.
    pub fn into_vec(self) -> Result<Vec<T>, NetworkError> {
        let expected = self.0.len();
        let results: Vec<T> = self.0.into_iter().filter_map(OnceLock::into_inner).collect();
        match results.len() {
            given if given == expected => Ok(results),
            given => Err(NetworkError::Unanswered { given, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_back_in_order_whoever_was_first() {
        let slots = RowSlots::new(64);
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let slots = &slots;
                scope.spawn(move || {
                    (0..64).rev().filter(|row| row % 4 == worker).for_each(|row| slots.set(row, 2 * row))
                });
            }
        });
        assert_eq!((slots.get(3), slots.get(64)), (Some(&6), None));
        assert_eq!(slots.into_vec().unwrap(), (0..64).map(|row| 2 * row).collect::<Vec<_>>());
    }

    #[test]
    fn a_row_without_a_result_is_reported() {
        let slots = RowSlots::new(3);
        slots.set(1, ());
        let error = slots.into_vec().unwrap_err();
        assert_eq!(error.to_string(), "the network answered for 1 rows where 3 were asked for");
    }

    #[test]
    #[should_panic(expected = "row 0 was answered twice")]
    fn a_second_result_is_refused() {
        let slots = RowSlots::new(1);
        slots.set(0, 1);
        slots.set(0, 2);
    }
}
