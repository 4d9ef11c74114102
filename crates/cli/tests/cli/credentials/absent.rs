//! A program that was built without content credentials says so before any work.

use crate::support::{aquatint, room, text};

const ABSENT: &str = "error: this program was built without content credentials\n\n\
                      hint: `cargo build --release --features credentials` builds it with them\n";

#[test]
fn a_program_without_content_credentials_says_so() {
    let path = room("credentials-absent").join("story.txt");
    let signing = ["--sign-cert", "a.pem", "--sign-key", "a.key", "--text-out", text(&path)];
    assert_eq!(aquatint(&[&["generate", "A", "-m", "nowhere"][..], &signing].concat()).expect(2).err, ABSENT);
    assert_eq!(aquatint(&["detect", text(&path)]).expect(2).err, ABSENT);
    assert!(!path.exists());
}
