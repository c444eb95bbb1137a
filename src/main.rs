//! The `postern` command.
#[allow(clippy::all)]
fn main() {
    for crd in postern::api::crds::all() {
        println!("---\n{}", serde_json::to_string(&crd).unwrap());
    }
}
