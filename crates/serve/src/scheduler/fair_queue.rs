//! What waits for an engine, by client.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// Who sends requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Client {
    /// Whoever has the API key of this number.
    Key(usize),
    /// Anybody at an address, where no key is asked for.
    Address(IpAddr),
}

/// The work of one client.
#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    /// Rows in flight.
    rows: usize,
    /// When something of it was admitted last, as a count of admissions.
    admitted: u64,
}

/// Work that waits, and how much of each client is in flight.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    lanes: BTreeMap<Client, Lane<T>>,
    admissions: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), admissions: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Adds work behind that of the same client.
    pub(crate) fn push(&mut self, client: Client, work: T) {
        self.lane(client).waiting.push_back(work);
    }

    /// The client whose turn it is: the one with the fewest rows in flight, of several the one that was served longest ago.
    pub(crate) fn next(&self) -> Option<(Client, &T)> {
        let waiting = self.lanes.iter().filter_map(|(client, lane)| Some((client, lane, lane.waiting.front()?)));
        let (client, _, work) = waiting.min_by_key(|(_, lane, _)| (lane.rows, lane.admitted))?;
        Some((*client, work))
    }

    /// Takes the first work of a client out.
    pub(crate) fn take(&mut self, client: Client) -> Option<T> {
        let work = self.lanes.get_mut(&client)?.waiting.pop_front();
        self.sweep(client);
        work
    }

    /// Counts work of a client as in flight.
    pub(crate) fn began(&mut self, client: Client, rows: usize) {
        self.admissions += 1;
        let admissions = self.admissions;
        let lane = self.lane(client);
        lane.rows += rows;
        lane.admitted = admissions;
    }

    /// Counts it no longer.
    pub(crate) fn ended(&mut self, client: Client, rows: usize) {
        if let Some(lane) = self.lanes.get_mut(&client) {
            lane.rows = lane.rows.saturating_sub(rows);
        }
        self.sweep(client);
    }

    /// Takes out all that matches.
    pub(crate) fn extract(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for lane in self.lanes.values_mut() {
            for work in std::mem::take(&mut lane.waiting) {
                if matches(&work) { out.push(work) } else { lane.waiting.push_back(work) }
            }
        }
        self.lanes.retain(|_, lane| lane.rows > 0 || !lane.waiting.is_empty());
        out
    }

    /// Whether something that waits matches.
    pub(crate) fn any(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.lanes.values().any(|lane| lane.waiting.iter().any(&matches))
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.waiting.is_empty())
    }

    fn lane(&mut self, client: Client) -> &mut Lane<T> {
        self.lanes.entry(client).or_insert_with(|| Lane { waiting: VecDeque::new(), rows: 0, admitted: 0 })
    }

    /// Forgets a client of whom nothing is here, so that a server that runs for months does not grow.
    fn sweep(&mut self, client: Client) {
        if self.lanes.get(&client).is_some_and(|lane| lane.rows == 0 && lane.waiting.is_empty()) {
            self.lanes.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_with_one_request_does_not_wait_for_one_with_many() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|number| queue.push(Client::Key(0), number));
        queue.push(Client::Key(1), 1000);
        let mut order = Vec::new();
        // Two are in flight at once; the older one ends when the next begins.
        let mut running = VecDeque::new();
        while let Some((client, _)) = queue.next() {
            order.extend(queue.take(client));
            queue.began(client, 8);
            running.push_back(client);
            if running.len() == 2 {
                running.pop_front().into_iter().for_each(|client| queue.ended(client, 8));
            }
        }
        assert_eq!(order[..3], [0, 1000, 1]);
        assert_eq!(order.len(), 101);
    }

    #[test]
    fn rows_and_not_requests_are_shared_out() {
        let mut queue = FairQueue::default();
        queue.began(Client::Key(0), 100);
        queue.began(Client::Key(1), 8);
        queue.began(Client::Key(1), 8);
        queue.push(Client::Key(0), "long");
        queue.push(Client::Key(1), "short");
        assert_eq!(queue.next(), Some((Client::Key(1), &"short")));
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let mut queue = FairQueue::default();
        queue.push(Client::Key(0), 1);
        queue.push(Client::Key(0), 2);
        assert_eq!(queue.extract(|number| *number == 1), [1]);
        assert_eq!(queue.take(Client::Key(0)), Some(2));
        assert!(queue.lanes.is_empty() && queue.is_empty());
    }
}
