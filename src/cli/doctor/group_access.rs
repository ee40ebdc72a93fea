//! Whether nginx's user may read the objects, by owner, group and mode of their folder.
//!
//! The main function is [`finding`].

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::finding::Finding;

/// Modes with which others than the owner may read a folder.
const GROUP_READS: u32 = 0o050;
const OTHERS_READ: u32 = 0o005;

/// Returns a finding if the user, in this group, cannot read the folder.
pub fn finding(objects: &Path, user: &str, group: &str) -> Option<Finding> {
    let metadata = std::fs::metadata(objects).ok()?;
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let user_id = id_of(&passwd, user)?;
    let mode = metadata.mode();
    let has = |bits| mode & bits == bits;
    let in_group = id_of(&groups, group) == Some(metadata.gid())
        || members_of(&groups, metadata.gid()).any(|member| member == user);
    let reads = user_id == 0
        || user_id == metadata.uid()
        || (in_group && has(GROUP_READS))
        || has(OTHERS_READ);
    (!reads).then(|| {
        Finding::failed(
            "nginx_settings",
            format!("user {user} of nginx cannot read {}", objects.display()),
            format!(
                "add {user} to the group {} of that folder, and restart nginx",
                metadata.gid()
            ),
        )
    })
}

/// Returns the number of a user or group, from lines such as `name:x:33:...`.
fn id_of(table: &str, name: &str) -> Option<u32> {
    let mut lines = table.lines().map(|line| line.split(':'));
    let mut fields = lines.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    fields.nth(1)?.parse().ok()
}

/// Returns the additional members of a group.
fn members_of(groups: &str, id: u32) -> impl Iterator<Item = &str> {
    let lines = groups.lines().map(|line| line.split(':'));
    lines
        .filter_map(move |mut fields| {
            let own: u32 = fields.nth(2)?.parse().ok()?;
            (own == id).then(|| fields.next())?
        })
        .flat_map(|members| members.split(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_members_are_read() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n";
        assert_eq!(id_of(passwd, "www-data"), Some(33));
        assert_eq!(id_of(passwd, "www"), None);
        let groups = "root:x:0:\nmillpond:x:10001:www-data,ann\nbroken\n";
        assert_eq!(
            members_of(groups, 10001).collect::<Vec<_>>(),
            ["www-data", "ann"]
        );
        assert_eq!(members_of(groups, 7).count(), 0);
    }
}
