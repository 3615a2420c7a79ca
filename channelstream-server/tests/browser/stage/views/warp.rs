//! What a program with warp has around the filter that the tutorial shows.

fn signed_in() -> impl warp::Filter<Extract = (String,), Error = warp::Rejection> + Clone {
    warp::cookie::cookie("user")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // SNIPPET

    let html = std::env::var("PAGE")?;
    let page = warp::get().and(warp::path::end()).map(move || warp::reply::html(html.clone()));
    let sign_in = warp::path!("sign_in")
        .map(|| warp::reply::with_header("", "set-cookie", "user=ann; HttpOnly; SameSite=Strict"));
    let port: u16 = std::env::var("PORT")?.parse()?;
    warp::serve(page.or(sign_in).or(connect)).run(([127, 0, 0, 1], port)).await;
    Ok(())
}
