//! Properties of file names in `Content-Disposition`.

use millpond::model::Attachment;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{CASES, cases};

fn is_one_field(value: &str) -> bool {
    value.starts_with("attachment; filename=\"")
        && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn names_read_back_as_written(name in "\\PC{0,80}|[a-z\"\\\\;=%'. /é]{0,300}") {
        if let Some(attachment) = Attachment::from_name(&name) {
            let value = attachment.to_string();
            prop_assert!(is_one_field(&value), "{}", value);
            prop_assert_eq!(Attachment::from_header(value.as_bytes()), Some(attachment));
        }
    }

    #[test]
    fn any_header_gives_safe_name(
        value in vec(prop_oneof![any::<u8>(), select(b"\"\\;=*'%/.fa".to_vec())], 0..60),
        start in select(vec!["", "attachment; filename=", "filename*=utf-8''"]),
    ) {
        let value = [start.as_bytes(), &value].concat();
        if let Some(attachment) = Attachment::from_header(&value) {
            prop_assert!(is_one_field(&attachment.to_string()));
            prop_assert!(!attachment.to_string().contains('/'));
        }
    }
}
