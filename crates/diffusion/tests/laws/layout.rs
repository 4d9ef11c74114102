//! Layouts against the plain definition of attention masks.

use aquatint_diffusion::{Intervals, Layout, PADDING_DOCUMENT, two_stream_intervals};
use proptest::prelude::*;

fn sees(row: &Intervals, position: usize) -> bool {
    row.iter().any(|interval| interval.contains(&(position as u32)))
}

/// What attention kernels insist on: the first interval is never empty, both lie inside, and they do not overlap.
fn well_formed(rows: &[Intervals]) -> bool {
    rows.iter().all(|[first, second]| {
        let apart = second.is_empty() || first.end <= second.start || second.end <= first.start;
        !first.is_empty() && first.end as usize <= rows.len() && second.end as usize <= rows.len() && apart
    })
}

/// Documents as runs, padding at the tail, and the start of each position's document.
fn documents() -> impl Strategy<Value = Vec<u32>> {
    (prop::collection::vec(1usize..7, 1..5), 0usize..4).prop_map(|(lengths, padding)| {
        let runs = lengths.iter().zip(0u32..).flat_map(|(length, id)| std::iter::repeat_n(id, *length));
        runs.chain(std::iter::repeat_n(PADDING_DOCUMENT, padding)).collect()
    })
}

fn block_of(documents: &[u32], position: usize, block: usize) -> usize {
    let start = documents.iter().position(|d| *d == documents[position]).unwrap();
    (position - start) / block
}

fn together(documents: &[u32], a: usize, b: usize) -> bool {
    a == b || (documents[a] == documents[b] && documents[a] != PADDING_DOCUMENT)
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn intervals_say_who_sees_whom(documents in documents(), block in 1usize..6) {
        let length = documents.len();
        let blocks = |p| block_of(&documents, p, block);
        let prefix = Layout::CausalPrefix { length: block };
        for layout in [Layout::Full, Layout::Causal, Layout::Block { length: block }, prefix] {
            let rows = layout.intervals(length, &documents);
            prop_assert!(rows.len() == length && well_formed(&rows));
            for (i, row) in rows.iter().enumerate() {
                for j in 0..length {
                    let order = match layout {
                        Layout::Full => true,
                        Layout::Causal => j <= i,
                        Layout::Block { .. } => i == j || blocks(j) <= blocks(i),
                        Layout::CausalPrefix { .. } => {
                            let last = (0..length).filter(|p| documents[*p] == documents[i]).map(blocks).max();
                            j <= i || Some(blocks(i)) == last
                        }
                    };
                    prop_assert_eq!(sees(row, j), order && together(&documents, i, j), "{} {} {}", layout, i, j);
                }
            }
        }
    }

    #[test]
    fn two_streams_see_their_noisy_block_and_clean_ones(documents in documents(), block in 1usize..6, causal: bool) {
        let length = documents.len();
        let layout = if causal { Layout::CausalPrefix { length: block } } else { Layout::Block { length: block } };
        let rows = two_stream_intervals(length, layout, &documents);
        prop_assert!(rows.len() == 2 * length && well_formed(&rows));
        for i in 0..length {
            for j in 0..length {
                let near = together(&documents, i, j);
                let (a, b) = (block_of(&documents, i, block), block_of(&documents, j, block));
                let padding = documents[i] == PADDING_DOCUMENT;
                prop_assert_eq!(sees(&rows[i], j), near && (padding || a == b), "noisy to noisy");
                prop_assert_eq!(sees(&rows[i], length + j), near && !padding && b < a, "noisy to clean");
                prop_assert!(!sees(&rows[length + i], j), "clean to noisy");
                prop_assert_eq!(sees(&rows[length + i], length + j), near && (padding || if causal { j <= i } else { b <= a }), "clean to clean");
            }
        }
    }
}

#[test]
fn a_block_behind_a_prefix_sees_itself_and_all_before_it() {
    let rows = Layout::intervals_behind(2, 4);
    assert_eq!(rows, [[0..1, 0..0], [0..2, 0..0], [0..4, 0..0], [0..4, 0..0]]);
    assert_eq!(Layout::intervals_behind(0, 2), vec![[0..2, 0..0]; 2]);
    // The last block of a document is the current one.
    let layout = Layout::CausalPrefix { length: 2 };
    assert_eq!(layout.current(5, &[]), [false, false, false, false, true]);
    assert_eq!(layout.current(5, &[0, 0, 0, 0, 1]), [false, false, true, true, true]);
    assert_eq!(Layout::Full.current(2, &[]), [false; 2]);
}

#[test]
fn no_documents_are_one_document_and_a_short_list_ends_in_padding() {
    assert_eq!(Layout::Full.intervals(3, &[]), vec![[0..3, 0..0]; 3]);
    assert_eq!(Layout::Full.intervals(3, &[7, 7]), [[0..2, 0..0], [0..2, 0..0], [2..3, 0..0]]);
    assert_eq!(Layout::Block { length: usize::MAX }.intervals(2, &[]), vec![[0..2, 0..0]; 2]);
    assert!(Layout::Causal.intervals(0, &[]).is_empty());
}

#[test]
fn names_lead_back_to_their_layouts() {
    for layout in [Layout::Full, Layout::Causal, Layout::Block { length: 32 }, Layout::CausalPrefix { length: 8 }] {
        assert_eq!(layout.name().parse(), Ok(layout));
    }
    for wrong in ["", "block", "block:0", "block:-1", "full:3", "Full"] {
        assert!(wrong.parse::<Layout>().is_err(), "{wrong} was taken");
    }
    assert_eq!(
        "block:0".parse::<Layout>().unwrap_err().to_string(),
        "`layout` is \"block:0\"; allowed: full, causal, block:LENGTH or causal-prefix:LENGTH with a length of 1 or more"
    );
}
