// Stores the wanted view of the admin page. Browsers carry the part behind `#` to the sign-in page, but
// not through its form. The admin page reads it.

if (location.hash) sessionStorage.setItem('channelstream-admin-view', location.hash);
