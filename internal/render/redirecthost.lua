-- Runs for redirects that keep the host and leave the port out. Envoy builds
-- the Location of the Host header, which no backend will see.
function envoy_on_request(handle)
  local headers = handle:headers()
  headers:replace(":authority", (headers:get(":authority"):gsub(":%d+$", "")))
end
