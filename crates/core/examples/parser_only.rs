//! The parser and the writer without a server: reads requests from standard input and prints them with a response.
//! `printf 'GET /a%20b HTTP/1.1\r\nHost: x\r\n\r\n' | cargo run -p amboss-core --example parser_only`

use std::io::Read;

use amboss_core::http::{
    percent_decode, BodyLength, BodyWriter, Framing, HeadOptions, HeadParser, ResponseContext, ResponseHead, Target,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let options = HeadOptions::default();
    let mut parser = HeadParser::new(options);
    let mut rest = &input[..];
    while !rest.is_empty() {
        parser.reset();
        let length = match parser.parse(rest, rest.len()) {
            Ok(Some(length)) => length,
            Ok(None) => return Err("the input ends inside a head".into()),
            Err(error) => return Err(format!("{}: {error}", error.status()).into()),
        };
        let head = parser.head(rest);
        let framing = Framing::of(&head, options.leniency)?;
        let target = Target::of(&head, options.leniency)?;
        println!("{} {:?}", head.method().escape_ascii(), String::from_utf8_lossy(&percent_decode(target.path)));
        for field in head.fields() {
            println!("  {} = {}", field.name.escape_ascii(), field.value.escape_ascii());
        }

        let mut out = Vec::new();
        let is_head = head.method() == b"HEAD";
        let answering = ResponseContext { version: head.version(), head: is_head, keep_alive: framing.keep_alive };
        let response = ResponseHead::start(&mut out, "200 OK", [("Content-Type", &b"text/plain"[..])])?;
        let mut body = BodyWriter::new(response.finish(&mut out, answering, Some(3), None, None).framing);
        body.append(b"ok\n", &mut out);
        println!("{}", String::from_utf8_lossy(&out));

        let BodyLength::Known(body) = framing.body else {
            return Err("this example does not read chunked bodies".into());
        };
        rest = &rest[length..];
        rest = rest.get(body as usize..).ok_or("the input ends inside a body")?;
    }
    Ok(())
}
