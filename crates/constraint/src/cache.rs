//! Compiled constraints, by what they were compiled from: the least recently used ones go first.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by keys, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    most_bytes: usize,
    bytes: usize,
    uses: u64,
    entries: HashMap<K, Entry<V>>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, uses: 0, entries: HashMap::new() }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.uses += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    /// Stores a value that takes so many bytes, and drops those that were not used for the longest time.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize) {
        if bytes > self.most_bytes {
            return;
        }
        self.uses += 1;
        if let Some(before) = self.entries.insert(key, Entry { value, bytes, used: self.uses }) {
            self.bytes -= before.bytes;
        }
        self.bytes += bytes;
        while self.bytes > self.most_bytes {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(entry) = oldest.and_then(|key| self.entries.remove(&key)) else { break };
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first() {
        let mut cache = Cache::new(10);
        cache.insert("a", 1, 4);
        cache.insert("b", 2, 4);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.insert("c", 3, 4);
        assert_eq!((cache.get(&"a"), cache.get(&"b"), cache.get(&"c")), (Some(1), None, Some(3)));
        cache.insert("a", 5, 6);
        assert_eq!((cache.get(&"a"), cache.get(&"c"), cache.bytes), (Some(5), Some(3), 10));
        cache.insert("d", 4, 11);
        assert_eq!((cache.get(&"d"), cache.get(&"a")), (None, Some(5)));
    }
}
