//! Check of `Content-Encoding` in responses of origins.
//!
//! A coded body would be stored as the file. A label alone costs nothing, because the first bytes
//! decide. The main type is [`CodingCheck`].

use crate::model::{ContentCoding, FILE_TYPE_SNIFF_BYTES, FileType};
use crate::origin::{OriginError, ProtocolFault, Response};
use crate::policy::Admitted;

/// Content coding that a response states for a body, which must not be coded.
#[derive(Debug, Clone)]
pub struct CodingCheck {
    /// The stated coding, and the value of the field.
    stated: Option<(ContentCoding, String)>,
    file_type: FileType,
}

impl CodingCheck {
    /// Reads `Content-Encoding` of a response for a target.
    #[must_use]
    pub fn new(response: &Response, admitted: &Admitted) -> Self {
        Self::from_value(response.list_header("content-encoding"), admitted)
    }

    /// Reads a value of `Content-Encoding` that was stored for a target.
    #[must_use]
    pub fn from_value(value: String, admitted: &Admitted) -> Self {
        Self {
            stated: ContentCoding::parse(&value).map(|coding| (coding, value)),
            file_type: admitted.named_type(),
        }
    }

    /// Returns how many of the first bytes [`CodingCheck::check`] needs.
    #[must_use]
    pub fn sniff_bytes(&self) -> usize {
        self.stated.as_ref().map_or(0, |_| FILE_TYPE_SNIFF_BYTES)
    }

    /// Whether this check is that of a part which continues a body with the check `whole`. A part
    /// states the coding of the body, or none.
    #[must_use]
    pub fn continues(&self, whole: Option<&Self>) -> bool {
        let coding = |check: &Self| check.stated.as_ref().map(|(coding, _)| coding.clone());
        let own = coding(self);
        own.is_none() || own == whole.and_then(coding)
    }

    /// Checks the first bytes of the body, or a whole short body.
    ///
    /// # Errors
    /// [`OriginError::InvalidResponse`] if they are coded.
    pub fn check(&self, head: &[u8]) -> Result<(), OriginError> {
        match &self.stated {
            Some((coding, value)) if coding.is_applied(self.file_type, head) => {
                Err(ProtocolFault::ContentEncoding(value.clone()).into())
            }
            _ => Ok(()),
        }
    }
}
