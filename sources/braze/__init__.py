"""The Braze REST export API as a dlt source."""
