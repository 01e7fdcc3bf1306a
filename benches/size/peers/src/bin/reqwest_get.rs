//! A minimal program that fetches a page with reqwest.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("no URL")?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let page = reqwest::get(url).await?.bytes().await?;
        println!("{} bytes", page.len());
        Ok(())
    })
}
