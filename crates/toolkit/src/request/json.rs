//! JSON in requests and responses, by serde.

use super::Request;
use crate::error::HttpError;
use crate::response::Response;

impl Response {
    /// Makes a response of JSON.
    ///
    /// # Errors
    /// A value that JSON can't represent, such as a map whose keys are not strings.
    pub fn json(value: &(impl serde::Serialize + ?Sized)) -> Result<Response, HttpError> {
        Ok(Response::bytes(serde_json::to_vec(value)?).with_header("Content-Type", "application/json"))
    }
}

impl Request<'_, '_> {
    /// The body, decoded from JSON.
    ///
    /// # Errors
    /// As [`get_data`](Request::get_data); 415 if the Content-Type is not a JSON type (RFC 6839 §3.1); 400 if the body is not
    /// JSON, or not of the type `T`.
    pub fn json<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, HttpError> {
        let media_type = self.mimetype();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            let description = "The request has to have the Content-Type application/json.";
            return Err(HttpError::new(415).with_description(description));
        }
        serde_json::from_slice(self.get_data()?)
            .map_err(|error| HttpError::bad_request(format!("The body of the request can't be used: {error}.")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_by_serde() {
        let response = Response::json(&[("a", 1)]).unwrap();
        assert_eq!(response.data(), Some(&b"[[\"a\",1]]"[..]));
        assert_eq!(response.headers().get_str("Content-Type"), Some("application/json"));
        let unrepresentable = std::collections::BTreeMap::from([(vec![1], 2)]);
        assert_eq!(Response::json(&unrepresentable).unwrap_err().status(), 500);
    }
}
