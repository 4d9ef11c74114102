//! Which canvas a piece shares: the one where it leaves the least room, among those that are still open.

/// Canvases that wait for more pieces at a time. More would waste less, but mix pieces from further apart.
const OPEN: usize = 64;

/// Canvases that still have room.
#[derive(Debug)]
pub(crate) struct BestFit<T> {
    /// Positions of a canvas.
    full: u64,
    waiting: Vec<Waiting<T>>,
}

#[derive(Debug)]
struct Waiting<T> {
    pieces: Vec<T>,
    room: u64,
}

impl<T> BestFit<T> {
    /// No canvas yet, of so many positions.
    pub(crate) fn new(full: u64) -> Self {
        Self { full, waiting: Vec::new() }
    }

    /// Puts a piece of so many positions, at most those of a canvas, into one. Returns a canvas that takes no more.
    pub(crate) fn put(&mut self, piece: T, positions: u64) -> Option<Vec<T>> {
        let waiting = &mut self.waiting;
        let fitting = (0..waiting.len()).filter(|&index| waiting[index].room >= positions);
        if let Some(index) = fitting.min_by_key(|&index| waiting[index].room) {
            waiting[index].pieces.push(piece);
            waiting[index].room -= positions;
            return (waiting[index].room == 0).then(|| waiting.remove(index).pieces);
        }
        // The fullest has the least hope; of equals the oldest goes.
        let fullest = (0..waiting.len()).min_by_key(|&index| waiting[index].room);
        let given_up = fullest.filter(|_| waiting.len() == OPEN).map(|index| waiting.remove(index).pieces);
        waiting.push(Waiting { pieces: vec![piece], room: self.full.saturating_sub(positions) });
        given_up
    }

    /// The canvases that still wait, the oldest first.
    pub(crate) fn finish(self) -> impl Iterator<Item = Vec<T>> {
        self.waiting.into_iter().map(|canvas| canvas.pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_goes_where_it_leaves_the_least_room() {
        let mut fit = BestFit::new(10);
        assert_eq!(fit.put("a", 4), None);
        assert_eq!(fit.put("b", 7), None);
        // Room of 6 and of 3.
        assert_eq!(fit.put("c", 2), None);
        assert_eq!(fit.put("d", 6), Some(vec!["a", "d"]));
        assert_eq!(fit.put("e", 1), Some(vec!["b", "c", "e"]));
        assert_eq!(fit.put("f", 9), None);
        assert_eq!(fit.finish().collect::<Vec<_>>(), [vec!["f"]]);
    }

    #[test]
    fn the_fullest_is_given_up_where_too_many_wait() {
        let mut fit = BestFit::new(10);
        for piece in 0..OPEN {
            assert_eq!(fit.put(piece, if piece == 5 { 8 } else { 6 }), None);
        }
        assert_eq!(fit.put(OPEN, 6), Some(vec![5]));
    }
}
