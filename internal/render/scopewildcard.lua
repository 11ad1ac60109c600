-- Runs after scopename.lua, and where no exact host has taken the request
-- (every route has a name) lets the table's wildcard hosts have it.
function envoy_on_request(handle)
  if handle:streamInfo():routeName() ~= "" then
    return
  end
  local headers = handle:headers()
  local sent = headers:get(":authority")
  local host = sent:lower():gsub(":[^:%]]*$", ""):gsub("%.$", "")
  headers:replace(":authority", "|")
  headers:replace("x-waggle-host", host)
  headers:replace("x-waggle-sent-host", sent)
  handle:clearRouteCache()
  handle:metadata()
  headers:replace(":authority", sent)
  headers:remove("x-waggle-host")
  headers:remove("x-waggle-sent-host")
end
