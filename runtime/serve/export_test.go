package serve

// Routes returns what of a door is routed, without the profiles: "GET /v1/status" and so on.
func (d *Door) Routes() []string { return d.outside.routes }
