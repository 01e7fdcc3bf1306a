//! A minimal program that fetches a page with ureq.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("no URL")?;
    let page = ureq::get(&url).call()?.body_mut().read_to_vec()?;
    println!("{} bytes", page.len());
    Ok(())
}
