-- Runs where the Host header as the client wrote it is the name of no scope.
function envoy_on_request(handle)
  local headers = handle:headers()
  local sent = headers:get(":authority")
  local host = string.lower(sent):gsub(":%d+$", ""):gsub("%.$", "")
  headers:replace(":authority", host)
  handle:clearRouteCache()
  headers:replace(":authority", sent)
end
