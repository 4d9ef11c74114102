//! Results that are handed over when they are asked for.

use std::fmt;

/// A result that is on its way: until it is asked for, a device may be given more work, and only then is it waited for.
#[must_use = "it is not there before it is asked for"]
pub struct Later<T>(Box<dyn FnOnce() -> T>);

impl<T: 'static> Later<T> {
    /// A result that `wait` waits for.
    pub fn new(wait: impl FnOnce() -> T + 'static) -> Self {
        Self(Box::new(wait))
    }

    /// A result that is there.
    pub fn ready(value: T) -> Self {
        Self::new(|| value)
    }

    /// The result.
    pub fn get(self) -> T {
        (self.0)()
    }
}

impl<T> fmt::Debug for Later<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Later").finish_non_exhaustive()
    }
}
