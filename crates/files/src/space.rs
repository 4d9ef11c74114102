//! How much room a disk has.

use std::path::Path;

/// Bytes that this user may still write where `path` is or will be; `None` where the system does not say.
pub fn available_space(path: &Path) -> Option<u64> {
    // What does not exist yet will be made in the nearest folder that does.
    let absolute = std::path::absolute(path).ok()?;
    let there = absolute.ancestors().find(|folder| folder.exists())?;
    of(there)
}

#[cfg(unix)]
fn of(path: &Path) -> Option<u64> {
    let about = rustix::fs::statvfs(path).ok()?;
    about.f_bavail.checked_mul(about.f_frsize)
}

#[cfg(not(unix))]
fn of(_: &Path) -> Option<u64> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_made_yet_has_the_room_of_the_folder_that_it_goes_into() {
        let folder = tempfile::tempdir().unwrap();
        assert!(available_space(folder.path()).unwrap() > 0);
        assert!(available_space(&folder.path().join("not/yet")).unwrap() > 0);
        #[cfg(target_os = "linux")]
        assert_eq!(available_space(Path::new("/proc/nowhere")), Some(0));
    }
}
