//! Bodies made small for clients that ask for it: the two encodings of the official server's polling answers.
//!
//! Which bodies are worth it is the caller's to know (the official threshold is 1024 bytes).
//!
//! ```
//! use sockeye_proto::http::encoding::Encoding;
//!
//! let encoding = Encoding::preferred("gzip, deflate, br").expect("a browser takes both");
//! assert_eq!(encoding.name(), "gzip");
//! assert!(encoding.compress(&[b'a'; 2000]).len() < 50);
//! ```

use flate2::{Compress, Compression, FlushCompress, Status};

/// A content coding: RFC 9110 §8.4.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950: DEFLATE within zlib's format.
    Deflate,
}

impl Encoding {
    /// What a client prefers whose `Accept-Encoding` this is (several fields joined by commas); `None`: neither.
    ///
    /// As Node's `accepts` module chooses among `["gzip", "deflate"]`: the higher quality, then what is named rather than
    /// meant by `*`, then what stands first. A quality that is not of digits and a point counts as 0.
    #[must_use]
    pub fn preferred(accept_encoding: &str) -> Option<Self> {
        let rank = |encoding: Self| Rank::of(encoding.name(), accept_encoding).map(|rank| (rank, encoding));
        match (rank(Self::Gzip), rank(Self::Deflate)) {
            (Some((gzip, _)), Some((deflate, _))) if deflate.is_before(&gzip) => Some(Self::Deflate),
            (gzip, deflate) => gzip.or(deflate).map(|(_, encoding)| encoding),
        }
    }

    /// The value of `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// The whole body in this encoding, at zlib's default level.
    #[must_use]
    pub fn compress(self, body: &[u8]) -> Vec<u8> {
        let mut stream = match self {
            Self::Gzip => Compress::new_gzip(LEVEL, WINDOW_BITS),
            Self::Deflate => Compress::new_with_window_bits(LEVEL, true, WINDOW_BITS),
        };
        let mut out = Vec::with_capacity(body.len() / 4 + ROOM_MIN);
        loop {
            let rest = &body[stream.total_in() as usize..];
            let status = stream.compress_vec(rest, &mut out, FlushCompress::Finish);
            if status.expect("a stream that is not finished takes any input") == Status::StreamEnd {
                return out;
            }
            out.reserve(out.len().max(ROOM_MIN));
        }
    }
}

/// How much a client wants an encoding.
struct Rank {
    quality: f32,
    named: bool,
    position: usize,
}

impl Rank {
    /// What the list says about `name`; `None` where it is not acceptable.
    fn of(name: &str, list: &str) -> Option<Self> {
        let mut best: Option<Self> = None;
        for (position, item) in list.split(',').enumerate() {
            let (word, params) = item.split_once(';').unwrap_or((item, ""));
            let named = word.trim().eq_ignore_ascii_case(name);
            if !named && word.trim() != "*" {
                continue;
            }
            let rank = Self { quality: quality(params), named, position };
            // What is said by name outweighs what is said of all, whatever the quality.
            let holds = |best: &Self| (rank.named, rank.quality) >= (best.named, best.quality);
            if best.as_ref().is_none_or(holds) {
                best = Some(rank);
            }
        }
        best.filter(|rank| rank.quality > 0.0)
    }

    fn is_before(&self, other: &Self) -> bool {
        let (this, that) = ((self.quality, self.named), (other.quality, other.named));
        this > that || (this == that && self.position < other.position)
    }
}

fn quality(params: &str) -> f32 {
    let value = params.split(';').find_map(|param| param.trim().strip_prefix("q="));
    let Some(value) = value.map(str::trim) else { return 1.0 };
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    value.parse().ok().filter(|_| plain).unwrap_or(0.0)
}

const LEVEL: Compression = Compression::new(6);

/// The largest window: the format names no smaller one by default.
const WINDOW_BITS: u8 = 15;

/// The first room for a body, and the least by which it grows.
const ROOM_MIN: usize = 256;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    #[test]
    fn the_choice_is_that_of_the_official_server() {
        const GZIP: Option<Encoding> = Some(Encoding::Gzip);
        const DEFLATE: Option<Encoding> = Some(Encoding::Deflate);
        // Heard from accepts 1.3.8.
        for (accept, wanted) in [
            ("", None),
            ("gzip", GZIP),
            ("deflate", DEFLATE),
            ("gzip, deflate, br, zstd", GZIP),
            ("deflate, gzip", DEFLATE),
            ("*", GZIP),
            ("identity", None),
            ("br", None),
            ("gzip;q=0", None),
            ("gzip;q=0, *", DEFLATE),
            ("gzip;q=0, deflate", DEFLATE),
            ("*;q=0", None),
            ("gzip, *;q=0", GZIP),
            ("deflate;q=0.9, gzip;q=0.8", DEFLATE),
            ("gzip;q=0.8, deflate;q=0.9", DEFLATE),
            ("*;q=0.5, deflate;q=0.4", GZIP),
            ("deflate, *", DEFLATE),
            ("GZIP", GZIP),
            ("gzip;Q=0", GZIP),
            ("gzip;q=", None),
            ("gzip;q=abc", None),
            ("gzip;level=9;q=0", None),
            ("gzip;q=0;level=9", None),
            ("gzip; q=0", None),
            ("gzip ;q=0", None),
            (" gzip", GZIP),
            ("gzip,,deflate;q=2", DEFLATE),
            ("x-gzip", None),
            ("gzip;q=0, gzip", GZIP),
            ("gzip;q=0.5, deflate;q=0.7, gzip", GZIP),
            ("gzip;q=-1", None),
            ("gzip;q=.5, deflate;q=0.4", GZIP),
            ("gzip deflate", None),
            (",", None),
            ("gzip;", GZIP),
            ("identity;q=1, gzip;q=0.5", GZIP),
            ("gzip;q= 0", None),
            ("gzip;q =0", GZIP),
        ] {
            assert_eq!(Encoding::preferred(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn a_body_comes_out_as_it_went_in() {
        for size in [0, 1, 300, 1024, 70_000, 1_000_000] {
            for body in [vec![b'a'; size], (0..size).map(|i| (i * i / 7 + i / 3) as u8).collect()] {
                let mut gzip = Vec::new();
                GzDecoder::new(&Encoding::Gzip.compress(&body)[..]).read_to_end(&mut gzip).unwrap();
                assert!(gzip == body, "{size}");
                let mut deflate = Vec::new();
                ZlibDecoder::new(&Encoding::Deflate.compress(&body)[..]).read_to_end(&mut deflate).unwrap();
                assert!(deflate == body, "{size}");
            }
        }
    }
}
