//! The request heads to parse, as load generators, simple clients and browsers send them.

/// The number of readable bytes after a head, as in a connection's buffer: parsers may load whole vectors beyond the
/// end.
const PADDING: usize = 64;

/// One request head.
pub struct Input {
    /// Its name in the table.
    pub name: &'static str,
    /// The head, followed by padding.
    pub buffer: Vec<u8>,
    /// The length of the head.
    pub filled: usize,
    /// The [`digest`] of the head.
    pub expected: usize,
}

/// All heads, from the shortest to the longest.
pub fn all() -> Vec<Input> {
    vec![
        input("wrk", WRK.to_owned()),
        input("short", SHORT.to_owned()),
        input("classic", CLASSIC.to_owned()),
        input("Chrome", CHROME.to_owned()),
        input("long cookie", long_cookie()),
    ]
}

fn input(name: &'static str, lines: String) -> Input {
    let head = lines.replace('\n', "\r\n") + "\r\n";
    let mut words = lines.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let expected = digest(method.as_bytes(), target.as_bytes(), lines.lines().count() - 1);
    let filled = head.len();
    let mut buffer = head.into_bytes();
    buffer.resize(filled + PADDING, 0);
    Input { name, buffer, filled, expected }
}

/// A head of four KiB, most of which is one cookie.
fn long_cookie() -> String {
    const LENGTH: usize = 4096;
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let start = "GET /account/orders?page=2 HTTP/1.1\n\
                 Host: shop.example.com\n\
                 User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\n\
                 Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\n\
                 Accept-Language: en-GB,en;q=0.5\n\
                 Accept-Encoding: gzip, deflate, br, zstd\n\
                 Connection: keep-alive\n\
                 Cookie: session=";
    // Each line ending becomes one byte longer, and an empty line ends the head.
    let missing = LENGTH - start.len() - start.lines().count() - 3;
    let cookie = (0..missing).map(|at| char::from(ALPHABET[at * at % 61 % ALPHABET.len()]));
    format!("{start}{}\n", cookie.collect::<String>())
}

/// The request of wrk.
const WRK: &str = "GET / HTTP/1.1\nHost: 127.0.0.1:8000\n";

/// The request of curl.
const SHORT: &str = "\
GET /index.html HTTP/1.1
Host: www.example.com
User-Agent: curl/8.9.1
Accept: */*
";

/// A request like the one that parsers have been measured with since 2009: nine fields, an old browser, an analytics
/// cookie.
const CLASSIC: &str = "\
GET /blog/2009/10/a-parser-with-no-copies.html HTTP/1.1
Host: www.journal-of-servers.example
User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; en-GB; rv:1.9.1.5) Gecko/20091102 Firefox/3.5.5 (.NET CLR 3.5.30729)
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8
Accept-Language: en-gb,en;q=0.7,de;q=0.3
Accept-Encoding: gzip,deflate
Accept-Charset: ISO-8859-1,utf-8;q=0.7,*;q=0.7
Keep-Alive: 115
Connection: keep-alive
Cookie: uid=aH8kq31xZ0; __utma=104381902.1763390454.1257552061.1258110233.1258204485.7; __utmz=104381902.1257552061.1.1.utmccn=(referral)|utmcsr=reader.example|utmcct=/inbox/|utmcmd=referral; theme=plain; last=2009-11-14T08%3A14%3A45Z
";

/// A navigation in a current Chrome, over plain HTTP/1.1 behind a proxy that terminates TLS: fifteen fields.
const CHROME: &str = "\
GET /products/anvils?sort=price&page=3 HTTP/1.1
Host: shop.example.com
Connection: keep-alive
Cache-Control: max-age=0
sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"
sec-ch-ua-mobile: ?0
sec-ch-ua-platform: \"Windows\"
Upgrade-Insecure-Requests: 1
User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: navigate
Sec-Fetch-User: ?1
Sec-Fetch-Dest: document
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-GB,en-US;q=0.9,en;q=0.8
";

/// A number that is made of the parts of a head. Each parser has to compute the same.
pub fn digest(method: &[u8], target: &[u8], fields: usize) -> usize {
    method.len() + target.len() * 16 + fields * 65536
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_have_the_expected_sizes() {
        let shapes: Vec<_> = all().iter().map(|input| (input.name, input.filled, input.expected / 65536)).collect();
        assert_eq!(shapes[0], ("wrk", 40, 1));
        assert_eq!((shapes[1].0, shapes[1].2), ("short", 3));
        assert_eq!((shapes[2].0, shapes[2].2), ("classic", 9));
        assert!((690..=720).contains(&shapes[2].1), "{}", shapes[2].1);
        assert_eq!((shapes[3].0, shapes[3].2), ("Chrome", 15));
        assert_eq!((shapes[4].0, shapes[4].1), ("long cookie", 4096));
    }
}
