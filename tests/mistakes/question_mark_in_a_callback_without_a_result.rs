//! compiler: the `?` operator can only be used in a closure that returns `Result`
//! readme: the `?` operator can only be used in a closure that returns `Result`

use twistor::prelude::*;

fn main() {
    let _ = succeed("21").add_callback(|text| {
        let n: u64 = text.parse()?;
        println!("{n}");
    });
}
