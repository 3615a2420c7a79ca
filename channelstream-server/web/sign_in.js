// Keeps which view of the admin page was wanted: behind `#`, browsers carry it to the sign-in page,
// but not through its form. The admin page looks for it here.

if (location.hash) sessionStorage.setItem('channelstream-admin-view', location.hash);
