//! Owner, group, mode and access control list survive a change; where they cannot, the file does.

use std::os::unix::process::CommandExt;

use super::*;

/// Whose files these tests may make.
fn running_as_root() -> bool {
    fs::metadata(TempDir::new().unwrap()).unwrap().uid() == 0
}

#[test]
fn the_mode_is_kept() {
    for mode in [0o600, 0o640, 0o660, 0o400, 0o440] {
        let accounts = Accounts::with("DEMO\\alice:!\n");
        fs::set_permissions(&accounts.file, Permissions::from_mode(mode)).unwrap();
        succeeded(&accounts.typed(r"DEMO\alice", "password", &[]));
        assert_eq!(accounts.mode(), mode);
        assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}\n"));
    }
}

#[test]
fn a_file_that_servers_refuse_keeps_its_mode_with_a_warning() {
    for mode in [0o644, 0o602] {
        let accounts = Accounts::with("DEMO\\alice:!\n");
        fs::set_permissions(&accounts.file, Permissions::from_mode(mode)).unwrap();
        let output = accounts.typed(r"DEMO\alice", "password", &[]);
        let file = accounts.file.display();
        let warning = format!(
            "negotiate-auth: {file}: others can read or change it, so servers refuse it: \
             chmod o-rw\n"
        );
        assert_eq!(stderr(&output), warning);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(accounts.mode(), mode);
    }
}

#[test]
fn owner_and_group_are_kept() {
    assert!(running_as_root(), "only root can give files away: run this as root");
    let accounts = Accounts::with("DEMO\\alice:!\n");
    // The folder would give new files its own group.
    chown(&accounts.folder, None, Some(4711)).unwrap();
    fs::set_permissions(&accounts.folder, Permissions::from_mode(0o2700)).unwrap();
    for (owner, group) in [(12_345, 54_321), (0, 54_321), (12_345, 0), (0, 0)] {
        chown(&accounts.file, Some(owner), Some(group)).unwrap();
        succeeded(&accounts.typed(r"DEMO\alice", "password", &[]));
        let meta = fs::metadata(&accounts.file).unwrap();
        assert_eq!((meta.uid(), meta.gid(), accounts.mode()), (owner, group, 0o600));
    }
}

/// Runs the tool as a user and group that are neither root's.
fn typed_by(user: u32, group: u32, accounts: &Accounts) -> Output {
    assert!(running_as_root(), "only root can act as somebody else: run this as root");
    // Where the tool was built, somebody else may not be able to go.
    let copy = TempDir::new().unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let tool = copy.path().join("negotiate-auth");
    // Not by this process: a test that forks meanwhile would hold the copy open for writing.
    let copied = Command::new("cp").arg(TOOL).arg(&tool).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(&tool);
    command.args(["passwd", "--stdin"]);
    command.arg(&accounts.file).arg(r"DEMO\alice");
    run(command.uid(user).gid(group), b"password")
}

#[test]
fn a_file_whose_owner_cannot_be_kept_is_left_alone() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    // Somebody else may read it and even replace it, but not give the new one to root.
    fs::set_permissions(&accounts.folder, Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&accounts.file, Permissions::from_mode(0o640)).unwrap();
    chown(&accounts.file, Some(0), Some(54_321)).unwrap();
    let before = fs::metadata(&accounts.file).unwrap().ino();
    let output = typed_by(65_534, 54_321, &accounts);
    let line = format!(
        "{}: its owner and group, 0:54321, cannot be kept (Operation not permitted (os error 1)); \
         run this as root or as its owner",
        accounts.file.display()
    );
    failed(&output, 1, &line);
    assert_eq!(accounts.text(), "DEMO\\alice:!\n");
    assert_eq!(fs::metadata(&accounts.file).unwrap().ino(), before);
    assert_eq!(accounts.names(), ["accounts"]);
}

#[test]
fn the_owner_of_file_and_folder_needs_no_root() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    chown(&accounts.folder, Some(65_534), None).unwrap();
    chown(&accounts.file, Some(65_534), Some(65_534)).unwrap();
    succeeded(&typed_by(65_534, 65_534, &accounts));
    assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}\n"));
    assert_eq!(fs::metadata(&accounts.file).unwrap().uid(), 65_534);
}

#[test]
fn a_file_or_folder_out_of_reach_is_an_error() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    fs::set_permissions(&accounts.folder, Permissions::from_mode(0o755)).unwrap();
    let line = format!("{}: Permission denied (os error 13)", accounts.file.display());
    failed(&typed_by(65_534, 65_534, &accounts), 1, &line);

    chown(&accounts.file, Some(65_534), Some(65_534)).unwrap();
    let output = typed_by(65_534, 65_534, &accounts);
    assert_eq!(output.status.code(), Some(1));
    let line = format!(
        "negotiate-auth: {}: its new text cannot be written: Permission denied",
        accounts.file.display()
    );
    assert!(stderr(&output).starts_with(&line), "{output:?}");
    assert_eq!(accounts.text(), "DEMO\\alice:!\n");
    assert_eq!(accounts.names(), ["accounts"]);
}

/// Owner and one more user may read (linux/posix_acl_xattr.h: version 2; tag, permissions, id).
fn list_for(user: u32) -> Vec<u8> {
    let nobody = u32::MAX;
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in [
        (0x01_u16, 6_u16, nobody),
        (0x02, 4, user),
        (0x04, 0, nobody),
        (0x10, 4, nobody),
        (0x20, 0, nobody),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

const LIST: &str = "system.posix_acl_access";
const LIST_FOR_NEW_FILES: &str = "system.posix_acl_default";

#[test]
fn the_access_control_list_is_kept() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    attribute::set(&accounts.file, LIST, &list_for(54_321));
    succeeded(&accounts.typed(r"DEMO\alice", "password", &[]));
    assert_eq!(attribute::get(&accounts.file, LIST), Some(list_for(54_321)));
    assert_eq!(accounts.mode(), 0o640);
}

#[test]
fn a_list_for_new_files_lets_nobody_read_an_old_one() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    attribute::set(accounts.folder.path(), LIST_FOR_NEW_FILES, &list_for(54_321));
    fs::set_permissions(&accounts.file, Permissions::from_mode(0o640)).unwrap();
    succeeded(&accounts.typed(r"DEMO\alice", "password", &[]));
    assert_eq!(attribute::get(&accounts.file, LIST), None);
    assert_eq!(accounts.mode(), 0o640);
}

/// Extended attributes, which the standard library lacks.
#[allow(unsafe_code)]
mod attribute {
    use std::ffi::CString;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    pub(super) fn set(path: &Path, name: &str, value: &[u8]) {
        let (path, name) = names(path, name);
        // SAFETY: both names end with a NUL and the value is readable to its length.
        let outcome = unsafe {
            libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
        };
        let error = io::Error::last_os_error();
        assert_eq!(outcome, 0, "TMPDIR needs access control lists: {error}");
    }

    pub(super) fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
        let (path, name) = names(path, name);
        let mut value = vec![0; 1_000];
        // SAFETY: both names end with a NUL and the value is writable to its length.
        let length = unsafe {
            libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
        };
        value.truncate(usize::try_from(length).ok()?);
        Some(value)
    }

    fn names(path: &Path, name: &str) -> (CString, CString) {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        (path, CString::new(name).unwrap())
    }
}
