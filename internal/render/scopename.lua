-- Runs for a request whose Host header, as the client wrote it, names no
-- scope. Looks the route up by the name without case, port and trailing dot.
function envoy_on_request(handle)
  local headers = handle:headers()
  local sent = headers:get(":authority")
  local host = sent:lower():gsub(":[^:%]]*$", ""):gsub("%.$", "")
  if host ~= sent then
    headers:replace(":authority", host)
    handle:clearRouteCache()
    handle:metadata() -- asks for the route; a script can do so once
    headers:replace(":authority", sent) -- which keeps the route
  end
end
