/** Files that the build puts into the bundle as bytes. */
declare module "*.npz" {
  const bytes: Uint8Array<ArrayBuffer>;
  export default bytes;
}
