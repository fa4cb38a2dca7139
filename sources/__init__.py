"""dlt sources: the Braze export API and the stand-in workspace that speaks it."""
